#!/bin/bash
# The whole conformance campaign: what the slices in the tests leave out.  Hours on one core; it can be interrupted and
# called again, and goes on.
#
#   usage: conformance.sh [RESULTS]      (default: build/conformance)
#     X86EMU_VECTORS   directory with hw/ and singlestep/ (default: ../shared/data beside the checkout)
#     X86EMU_KVM_UNIT_TESTS   directory of a built kvm-unit-tests
#     COUNT            generated cases of native and unicorn (default 10000000)
#     JOBS             processes (default: as many as processors); CLUSTER: address of a Dask scheduler instead
#     PYTHON           interpreter with the package (default: .venv/bin/python, or python3)
#
# RESULTS gets a JSON file for each suite, report.html and table.md, the table of docs/conformance.md.  A suite whose
# input or oracle is not here is named and left out.  Exit code: the highest of `x86emu conform run`.
set -uo pipefail
cd "$(dirname "$0")/.."
results=${1:-build/conformance}
vectors=${X86EMU_VECTORS:-../shared/data}
count=${COUNT:-10000000}
python=${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}
where=(--jobs "${JOBS:-$(nproc)}")
[[ -z ${CLUSTER:-} ]] || where=(--cluster "$CLUSTER")
mkdir -p "$results"
worst=0
done=()

run() { # NAME ARGUMENT...
    local name=$1 code
    shift
    if [[ ! -e $results/$name.json || -e $results/$name.json.partial ]]; then
        "$python" -m x86emu conform run "${where[@]}" --resume --output "$results/$name.json" --suite "$@"
        code=$?
        if [[ $code == 8 || $code == 130 ]]; then exit "$code"; fi
        if [[ $code == 2 ]]; then
            echo "conformance: $name is left out" >&2
            return
        fi
        ((code <= worst)) || worst=$code
    fi
    done+=("$results/$name.json")
}

run native native --count "$count"
run unicorn unicorn --count "$count"
run decoders decoders --count 1000000
run testfloat testfloat --count 2000000
run singlestep singlestep "$vectors/singlestep"
run hw hw "$vectors/hw"
run declen declen "$vectors/hw"
[[ -z ${X86EMU_KVM_UNIT_TESTS:-} ]] || run kvm-unit-tests kvm-unit-tests "$X86EMU_KVM_UNIT_TESTS"
if ((${#done[@]})); then
    "$python" -m x86emu conform report "${done[@]}" --html "$results/report.html" --markdown "$results/table.md"
fi
exit "$worst"

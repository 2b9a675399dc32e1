#!/bin/bash
# The scoreboard of kvm-unit-tests in docs/virtualization.md: every run of its configuration, then the sub-tests of
# svm.flat and vmx.flat one by one.  Half an hour on one core; it can be interrupted and called again, and goes on.
#
#   usage: kvm_unit_tests.sh BUILD64 [BUILD32]      directories of built kvm-unit-tests, for x86_64 and for i386
#     RESULTS   where the results are kept (default: build/kvm-unit-tests)
#     JOBS      processes (default: as many as processors)
#     PYTHON    interpreter with the package (default: .venv/bin/python, or python3)
#     SECONDS_EACH   processor time for a test (default 600)
set -uo pipefail
cd "$(dirname "$0")/.."
results=${RESULTS:-build/kvm-unit-tests}
python=${PYTHON:-$([[ -x .venv/bin/python ]] && echo .venv/bin/python || echo python3)}
mkdir -p "$results"
done=()

run() { # NAME DIRECTORY ARGUMENT...
    local name=$1 directory=$2 code
    shift 2
    if [[ ! -e $results/$name.json || -e $results/$name.json.partial ]]; then
        "$python" -m x86emu conform run --suite kvm-unit-tests "$directory" --jobs "${JOBS:-$(nproc)}" \
            --timeout "${SECONDS_EACH:-600}" --resume --output "$results/$name.json" "$@"
        code=$?
        case $code in 0 | 1 | 3) ;; *) exit "$code" ;; esac
    fi
    done+=("$results/$name.json")
}

run x86_64 "$1"
[[ -z ${2:-} ]] || run i386 "$2"
run sub-tests "$1" --only 'svm:*' --only 'svm_pause_filter:*' --only 'svm_unsupported_instruction_intercept_test:*' \
    --only 'vmx:*' --only 'vmx_apicv_test:*' --only 'ept-mbec:*' \
    --only vmx_pf_vpid_test --only vmx_pf_invvpid_test --only vmx_pf_no_vpid_test \
    --only vmx_init_signal_test:nmi_hlt --only vmx:exit_monitor_from_l2_test --only vmx:atomic_switch_overflow_msrs_test
peers=(docs/scoreboards/qemu-10.0-tcg.json docs/scoreboards/bochs-3.0-dev.json docs/scoreboards/v86.json)
"$python" -m x86emu conform report "${done[@]}" "${peers[@]}" --scoreboard docs/virtualization.md

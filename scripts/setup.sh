#!/bin/bash
# Sets up a checkout on a Debian machine: what `make boot` and `make test` need, step by step.
#
#   usage: setup.sh STEP...
#     system     compiler, Python headers, firmware: installed with apt where this user may, else one line says what to do
#     browser    Debian's Chromium with its driver, which one test looks at a machine's screen with
#     test-tools what some tests compare with or count by: qemu-img, valgrind
#     slow-tools debootstrap, for the whole Debian of the slow tests
#     venv       .venv with what the package needs to be built and run
#     venv-test  the same and what the tests need
#     build      the extensions, in place
#     bench      the peers of `x86emu bench --peers`: QEMU, Bochs, nasm (apt), Unicorn, matplotlib (PyPI), v86 (npm)
#     firmware   prints the options that name Debian's SeaBIOS where it is not installed (nothing where it is)
#
# PYTHON names the interpreter (default: python3, 3.11 or later).  Nothing is written outside the checkout but below
# ~/.cache/x86emu.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
CACHE=${X86EMU_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/x86emu}

say() { printf 'x86emu: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
have() { PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1; }

python_headers() {
    "$PYTHON" -c 'import os, sysconfig; raise SystemExit(not os.path.exists(sysconfig.get_path("include") + "/Python.h"))' \
        2>/dev/null
}
c_headers() { printf '#include <stdio.h>\n' | gcc -E - >/dev/null 2>&1; }

# missing_packages  - Debian packages of what is not there.
missing_packages() {
    have "$PYTHON" || echo python3
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
    python_headers || echo python3-dev
    have gcc || echo gcc
    have objdump || echo binutils
    have nasm || echo nasm
    c_headers || echo libc6-dev
    [[ -e /usr/share/seabios/bios-256k.bin ]] || echo seabios
    local tool
    for tool in cpio gzip lz4 xz:xz-utils; do have "${tool%%:*}" || echo "${tool##*:}"; done
    [[ -e /usr/share/keyrings/debian-archive-keyring.gpg ]] || echo debian-archive-keyring
}

missing_browser() {
    have chromium || echo chromium
    have chromedriver || echo chromium-driver
}

# packages LIST  - installs them, if there are any.
packages() {
    local packages=$1 run=()
    if [[ -n ${packages// /} ]]; then
        if have apt-get && [[ $(id -u) == 0 ]]; then
            run=(env)
        elif have apt-get && have sudo && sudo -n true 2>/dev/null; then
            run=(sudo)
        elif [[ ${packages% } == seabios ]]; then
            return # it will be unpacked instead
        elif [[ $packages == *chromium* && ${CI:-} != true ]]; then
            say "the test of --display web in a browser is left out; it needs: sudo apt-get install $packages"
            return
        else
            die "this needs packages that are not installed; run: sudo apt-get install $packages"
        fi
        say "installing $packages"
        "${run[@]}" apt-get -qq update || say "apt-get update failed; trying with the lists that are there"
        # shellcheck disable=SC2086
        "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install $packages >&2
    fi
}

system() {
    packages "$(missing_packages | tr '\n' ' ')"
    "$PYTHON" -c 'import sys; raise SystemExit(sys.version_info < (3, 11))' ||
        die "$PYTHON is $("$PYTHON" --version 2>&1); Python 3.11 or later is needed: PYTHON=... names another one"
    python_headers || die "$PYTHON has no C headers (Python.h); name one that has: PYTHON=/usr/bin/python3"
}

browser() {
    packages "$(missing_browser | tr '\n' ' ')"
}

# optional_tools COMMAND:PACKAGE...  - installs what is missing where this user may; tests that need it are skipped else.
optional_tools() {
    local tool packages=() run=(env)
    for tool in "$@"; do have "${tool%%:*}" || packages+=("${tool##*:}"); done
    ((${#packages[@]})) || return 0
    if [[ $(id -u) != 0 ]]; then run=(sudo -n); fi
    say "installing ${packages[*]}"
    "${run[@]}" apt-get -qq update || say "apt-get update failed; trying with the lists that are there"
    "${run[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${packages[@]}" >&2 ||
        say "some tests will be skipped; to run them: sudo apt-get install ${packages[*]}"
}

# venv EXTRA  - .venv with what pyproject.toml asks for; done again only when that has changed.
venv() {
    local wanted stamp=.venv/installed-$1
    wanted=$("$PYTHON" - "$1" <<'PY'
import sys, tomllib
with open("pyproject.toml", "rb") as file:
    data = tomllib.load(file)
names = data["build-system"]["requires"] + data["project"]["dependencies"]
if sys.argv[1] == "test":
    names += data["project"]["optional-dependencies"]["test"]
print("\n".join(names))
PY
    )
    if [[ ! -x .venv/bin/python ]] || ! .venv/bin/python -c 'import sys' 2>/dev/null; then
        say "creating .venv"
        rm -rf .venv
        "$PYTHON" -m venv .venv
    fi
    if [[ ! -e $stamp || $(<"$stamp") != "$wanted" ]]; then
        say "installing Python packages into .venv"
        mapfile -t names <<<"$wanted"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input --retries 5 "${names[@]}" >&2
        printf '%s' "$wanted" >"$stamp"
    fi
    # The checkout is importable and `x86emu` is a command; nothing is copied, so an edit is seen at once.
    .venv/bin/python -c 'import pathlib, sysconfig
pathlib.Path(sysconfig.get_path("purelib"), "x86emu-checkout.pth").write_text(str(pathlib.Path.cwd()) + "\n")'
    printf '#!/bin/sh\nexec "%s/.venv/bin/python" -m x86emu "$@"\n' "$PWD" >.venv/bin/x86emu
    chmod +x .venv/bin/x86emu
}

build() {
    mkdir -p build
    say "building the extensions (some minutes the first time; log in build/build.log)"
    if ! .venv/bin/python setup.py build_ext --inplace >build/build.log 2>&1; then
        tail -n 40 build/build.log >&2
        die "the build failed; build/build.log has the rest"
    fi
}

bench() {
    local packages=()
    have nasm || packages+=(nasm)
    have qemu-system-x86_64 || packages+=(qemu-system-x86)
    have bochs && [[ -e /usr/share/bochs/BIOS-bochs-latest ]] || packages+=(bochs bochsbios)
    compgen -G '/usr/lib/*/bochs/plugins/libbx_term*' >/dev/null || packages+=(bochs-term)
    have npm || packages+=(npm)
    if ((${#packages[@]})); then
        [[ $(id -u) == 0 ]] && have apt-get || die "the peers need packages; run: sudo apt-get install ${packages[*]}"
        say "installing ${packages[*]}"
        apt-get -qq update || say "apt-get update failed; trying with the lists that are there"
        DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${packages[@]}" >&2
    fi
    .venv/bin/python -c 'import matplotlib, unicorn' 2>/dev/null ||
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input matplotlib 'unicorn>=2' >&2
    if have npm && [[ ! -e benchmarks/peers/node_modules/v86 ]]; then
        (cd benchmarks/peers && npm install --silent --no-fund --no-audit v86 >&2) || say "npm cannot have v86; it is left out"
    fi
}

firmware() {
    [[ ! -e /usr/share/seabios/bios-256k.bin || ! -e /usr/share/seabios/vgabios-stdvga.bin ]] || return 0
    bash tests/guests/build.sh "$CACHE/guests" firmware
    printf -- '--bios %s --vga-rom %s\n' "$CACHE/guests/bios/bios-256k.bin" "$CACHE/guests/bios/vgabios-stdvga.bin"
}

[[ $# -gt 0 ]] || die "usage: $0 STEP... (system, browser, test-tools, slow-tools, venv, venv-test, build, bench, firmware)"
for step in "$@"; do
    case $step in
    system | browser | build | bench | firmware) "$step" ;;
    venv) venv run ;;
    test-tools) optional_tools qemu-img:qemu-utils valgrind:valgrind ;;
    slow-tools) optional_tools qemu-img:qemu-utils debootstrap e2fsck:e2fsprogs ;;
    venv-test) venv test ;;
    *) die "there is no step $step; there are system, browser, test-tools, slow-tools, venv, venv-test, build, bench and firmware" ;;
    esac
done

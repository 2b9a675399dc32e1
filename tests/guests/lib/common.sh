# shellcheck shell=bash
# Shared helpers of the guest kit.  Source it, do not run it.
#
# Nothing here needs root or changes the host: packages are downloaded with a *private* apt state (own lists, own dpkg
# status) and unpacked with dpkg-deb.  Only the Debian archive is used.
#
# Environment:
#   X86EMU_CACHE            where .debs, apt lists and unpacked tools live (default: ${XDG_CACHE_HOME:-~/.cache}/x86emu)
#   X86EMU_DEBIAN_SUITE     suite (default bookworm: the last one with i386 kernels)
#   X86EMU_DEBIAN_MIRROR    Debian mirror            (default: the one this host's apt uses, else deb.debian.org)
#   X86EMU_DEBIAN_SECURITY  Debian security mirror   (the same)

GK_CACHE=${X86EMU_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/x86emu}
GK_SUITE=${X86EMU_DEBIAN_SUITE:-bookworm}
# host_mirror SUFFIX  - the repository that this host's apt has for the suite, or for the release it runs itself (a
# mirror holds all of them), with SUFFIX behind the code name.
host_mirror() {
    local own
    own=$(. /etc/os-release 2>/dev/null && printf '%s' "${VERSION_CODENAME:-}")
    apt-get indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' 2>/dev/null |
        awk -v first="$GK_SUITE$1" -v second="$own$1" '
            $3 == "main" && $2 == first && !a { a = $1 }
            $3 == "main" && $2 == second && !b { b = $1 }
            END { print a ? a : b }'
}
GK_MIRROR=${X86EMU_DEBIAN_MIRROR:-$(host_mirror "")}
GK_SECURITY=${X86EMU_DEBIAN_SECURITY:-$(host_mirror -security)}
GK_MIRROR=${GK_MIRROR:-http://deb.debian.org/debian}
GK_SECURITY=${GK_SECURITY:-http://deb.debian.org/debian-security}
GK_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# A fixed time stamp makes the images reproducible for the same package versions.
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-1700000000}
export LC_ALL=C

say() { printf '[%s] %s\n' "$(basename "$0" .sh)" "$*" >&2; }
die() { printf '[%s] ERROR: %s\n' "$(basename "$0" .sh)" "$*" >&2; exit 1; }

# need TOOL[:PACKAGE] ...  - stop with a readable message if a host tool is missing.
need() {
    local t missing=()
    for t in "$@"; do
        PATH=$PATH:/usr/sbin:/sbin command -v "${t%%:*}" >/dev/null 2>&1 || missing+=("${t##*:}")
    done
    ((${#missing[@]} == 0)) || die "missing host tools; run: apt-get install ${missing[*]}"
}
PATH=$PATH:/usr/sbin:/sbin

# start_output DIR NAME  - create the output directory and open its versions file.
start_output() {
    OUT=$1 GK_NAME=$2
    mkdir -p "$OUT" "$GK_CACHE/debs"
    OUT=$(cd "$OUT" && pwd)
    GK_VERSIONS=$OUT/$GK_NAME.versions
    : >"$GK_VERSIONS.new"
    GK_TMP=$(mktemp -d "${TMPDIR:-/tmp}/guestkit.XXXXXX")
    trap 'rm -rf "$GK_TMP"' EXIT
}
# finish_output  - publish the versions file and a sha256 list of what was built.
finish_output() {
    sort -u "$GK_VERSIONS.new" >"$GK_VERSIONS"
    rm -f "$GK_VERSIONS.new"
    say "package versions: $GK_VERSIONS"
}

# gk_apt ARCH COMMAND...  - apt-get/apt-cache with private state for ARCH.
_gk_apt_opts() {
    local arch=$1 d=$GK_CACHE/apt-$1
    GK_OPTS=(-o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
        -o "Dir::State=$d/state" -o "Dir::State::status=$d/status"
        -o "Dir::Cache=$d/cache" -o "Dir::Etc::sourcelist=$d/sources.list"
        -o "Dir::Etc::sourceparts=/dev/null" -o "Dir::Etc::preferencesparts=/dev/null"
        -o "Acquire::Languages=none" -o "APT::Get::List-Cleanup=0"
        -o "APT::Sandbox::User=")
}
gk_apt() {
    local arch=$1; shift
    local cmd=$1; shift
    _gk_apt_opts "$arch"
    "$cmd" "${GK_OPTS[@]}" "$@"
}
# apt_ready ARCH  - make (once a day) the private package lists of ARCH.
apt_ready() {
    local arch=$1 d=$GK_CACHE/apt-$1 key=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$d/state/lists/partial" "$d/cache/archives/partial"
    [[ -e $d/status ]] || : >"$d/status"
    [[ -e $key ]] || die "missing $key (package debian-archive-keyring)"
    cat >"$d/sources.list" <<LIST
deb [signed-by=$key] $GK_MIRROR $GK_SUITE main
deb [signed-by=$key] $GK_MIRROR $GK_SUITE-updates main
deb [signed-by=$key] $GK_SECURITY $GK_SUITE-security main
LIST
    if [[ -n $(find "$d/stamp" -mmin -1440 2>/dev/null) ]]; then return; fi
    say "apt lists for $arch"
    local try
    for try in 1 2 3; do
        if gk_apt "$arch" apt-get -qq -o APT::Update::Error-Mode=any update 2>"$d/update.log"; then
            touch "$d/stamp"
            return
        fi
        sleep 3
    done
    # A mirror that is being synchronised can lack one index for a while; what
    # was fetched is usable (the version that is used is recorded).
    say "WARNING: some package lists are missing: $(grep -m1 '^E:' "$d/update.log" || true)"
    touch "$d/stamp"
}

# deb_fetch ARCH PKG...  - download the candidate version of each package and
# print the paths of the .deb files.  Versions are recorded.
deb_fetch() {
    local arch=$1 p v f; shift
    apt_ready "$arch"
    for p in "$@"; do
        v=$(gk_apt "$arch" apt-cache policy "$p" | sed -n 's/^  Candidate: //p')
        [[ -n $v && $v != "(none)" ]] || die "no package $p for $arch in $GK_SUITE"
        f=$(find "$GK_CACHE/debs" -maxdepth 1 -name "${p}_${v//:/%3a}_*.deb" \
            \( -name "*_$arch.deb" -o -name '*_all.deb' \) | head -n1)
        if [[ -z $f ]]; then
            say "download $p $v ($arch)"
            (cd "$GK_CACHE/debs" && for try in 1 2 3; do
                gk_apt "$arch" apt-get -qq download "$p=$v" >&2 && break
                sleep "$try"
            done)
            f=$(find "$GK_CACHE/debs" -maxdepth 1 -name "${p}_${v//:/%3a}_*.deb" \
                \( -name "*_$arch.deb" -o -name '*_all.deb' \) | head -n1)
        fi
        [[ -n $f ]] || die "download of $p failed"
        printf '%s %s %s\n' "$p" "$v" "$arch" >>"${GK_VERSIONS:+$GK_VERSIONS.new}"
        printf '%s\n' "$f"
    done
}
# deb_unpack ARCH DIR PKG...  - fetch and unpack packages below DIR.
deb_unpack() {
    local arch=$1 dir=$2 f; shift 2
    mkdir -p "$dir"
    local files
    files=$(deb_fetch "$arch" "$@") || die "could not fetch $*"
    for f in $files; do dpkg-deb -x "$f" "$dir"; done
}
# deb_closure ARCH PKG...  - names of the packages and of all they depend on.
deb_closure() {
    local arch=$1; shift
    apt_ready "$arch"
    # An empty dpkg status makes a simulated install list all of them.
    gk_apt "$arch" apt-get -s -o APT::Install-Recommends=0 install "$@" |
        sed -n 's/^Inst \([^ ]*\) .*/\1/p' | sed 's/:.*//' | sort -u
}
# deb_real ARCH META REGEX  - the concrete package behind a metapackage.
deb_real() {
    apt_ready "$1"
    gk_apt "$1" apt-cache depends "$2" | sed -n 's/^ *Depends: //p' | grep -E -m1 "$3" ||
        die "$2 does not depend on anything like $3"
}

# tool_root ARCH PKG...  - unpack packages once into the tool tree of ARCH, print it.
tool_root() {
    local arch=$1 dir=$GK_CACHE/tools-$1 p; shift
    mkdir -p "$dir/.done"
    for p in "$@"; do
        [[ -e $dir/.done/$p ]] || { deb_unpack "$arch" "$dir" "$p"; touch "$dir/.done/$p"; }
        printf '%s %s %s\n' "$p" "$(deb_version "$arch" "$p")" "$arch" >>"$GK_VERSIONS.new"
    done
    printf '%s\n' "$dir"
}
deb_version() { apt_ready "$1"; gk_apt "$1" apt-cache policy "$2" | sed -n 's/^  Candidate: //p'; }

# make_cpio DIR FILE  - gzip-compressed newc archive, owned by root, stable order.
make_cpio() {
    local dir=$1 file=$2
    find "$dir" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
    (cd "$dir" && find . -print0 | sort -z |
        cpio --null --quiet -o -H newc --owner=+0:+0 --reproducible) | gzip -9n >"$file.tmp"
    mv "$file.tmp" "$file"
}

# copy_module ROOT MODULE DEST  - copy a kernel module and, before it, all that it
# depends on into DEST; append the file names, in load order, to DEST/modules.order.
# The dependencies are read from the modules themselves (.modinfo "depends="), so
# depmod is not needed.  A module that is built in needs nothing.
copy_module() {
    local root=$1 mod=$2 dest=$3 kdir file dep
    kdir=$(echo "$root"/lib/modules/*)
    if grep -qE "/${mod//[-_]/[-_]}\.ko" "$kdir/modules.builtin"; then return 0; fi
    file=$(find "$kdir/kernel" -regextype posix-extended -regex ".*/${mod//[-_]/[-_]}\.ko(\.xz)?" | head -n1)
    [[ -n $file ]] || { say "no module $mod in $kdir"; return 1; }
    [[ -e $dest/$(basename "${file%.xz}") ]] && return 0
    mkdir -p "$dest"
    case $file in
    *.xz) xz -dc "$file" >"$GK_TMP/$mod.ko" ;;
    *) cp "$file" "$GK_TMP/$mod.ko" ;;
    esac
    dep=$(tr '\0' '\n' <"$GK_TMP/$mod.ko" | sed -n 's/^depends=//p')
    for dep in ${dep//,/ }; do copy_module "$root" "$dep" "$dest"; done
    mv "$GK_TMP/$mod.ko" "$dest/$(basename "${file%.xz}")"
    basename "${file%.xz}" >>"$dest/modules.order"
}

# use_tool COMMAND PACKAGE [LIBRARY-PACKAGE...]  - make COMMAND usable: from the
# host if it is there, else unpacked from its Debian package (nothing is installed).
use_tool() {
    local cmd=$1 root bin; shift
    command -v "$cmd" >/dev/null 2>&1 && return
    root=$(tool_root "$(dpkg --print-architecture)" "$@")
    bin=$(find "$root" -path "*bin/$cmd" | head -n1)
    [[ -n $bin ]] || die "package $1 holds no $cmd"
    local libraries
    libraries=$(find "$root/usr/lib" "$root/lib" -maxdepth 1 -name '*-linux-gnu*' -printf '%p:' 2>/dev/null || true)
    mkdir -p "$GK_CACHE/wrappers"
    cat >"$GK_CACHE/wrappers/$cmd" <<WRAP
#!/bin/sh
LD_LIBRARY_PATH=$libraries\$LD_LIBRARY_PATH exec $bin "\$@"
WRAP
    chmod +x "$GK_CACHE/wrappers/$cmd"
    case :$PATH: in *":$GK_CACHE/wrappers:"*) ;; *) PATH=$GK_CACHE/wrappers:$PATH ;; esac
}

GK_APPLETS="sh ash cat cp cttyhack cut date dd dmesg echo env expr false free grep halt head
    hexdump insmod kill ln ls lsmod lspci mkdir mknod modprobe more mount mv od poweroff printf ps
    pwd reboot rm rmmod sed setsid sha256sum sleep sort stty sync tail tee test time top touch tr
    true umount uname uniq usleep vi wc which xargs yes [ awk gzip gunzip zcat find devmem rdmsr
    ifconfig ip ping udhcpc stat chmod mkfifo route wget nc nslookup basename readlink cpio"

# base_initramfs ARCH DIR NAME  - a busybox user space with our /init below DIR.
base_initramfs() {
    local arch=$1 dir=$2 name=$3 a
    mkdir -p "$dir"/{bin,dev,proc,sys,tmp,mnt,run,gk,lib/gk}
    deb_unpack "$arch" "$GK_TMP/busybox-$arch" busybox-static
    install -m755 "$GK_TMP/busybox-$arch/bin/busybox" "$dir/bin/busybox"
    for a in $GK_APPLETS; do ln -sf busybox "$dir/bin/$a"; done
    install -m755 "$GK_DIR/src/init" "$dir/init"
    printf '%s\n' "$name" >"$dir/gk/name"
}

# add_modules KERNELROOT DIR MODULE...  - put modules with their dependencies
# into DIR/lib/gk, with one load list NAME.order for each named module.
add_modules() {
    local root=$1 dir=$2 m d; shift 2
    for m in "$@"; do
        d=$(mktemp -d "$GK_TMP/mod.XXXX")
        copy_module "$root" "$m" "$d"
        touch "$d/modules.order"
        mv "$d/modules.order" "$dir/lib/gk/$m.order"
        find "$d" -name '*.ko*' -exec cp -n {} "$dir/lib/gk/" \;
    done
}

# kernel_root ARCH META  - unpack the kernel behind metapackage META; sets
# GK_KROOT (tree), GK_KVER (release) and GK_VMLINUZ.
kernel_root() {
    local arch=$1 meta=$2 pkg
    pkg=$(deb_real "$arch" "$meta" '^linux-image-[0-9]')
    GK_KROOT=$GK_CACHE/kernels/$pkg-$(deb_version "$arch" "$pkg")
    if [[ ! -e $GK_KROOT/.done ]]; then
        rm -rf "$GK_KROOT"; deb_unpack "$arch" "$GK_KROOT" "$pkg"; touch "$GK_KROOT/.done"
    fi
    printf '%s %s %s\n' "$pkg" "$(deb_version "$arch" "$pkg")" "$arch" >>"$GK_VERSIONS.new"
    GK_KVER=$(ls "$GK_KROOT/lib/modules")
    GK_VMLINUZ=$GK_KROOT/boot/vmlinuz-$GK_KVER
}

# copy_elf ROOT DESTROOT FILE...  - copy programs (paths inside ROOT) and every shared library they need into DESTROOT.
copy_elf() {
    local root=$1 dest=$2 f; shift 2
    need readelf:binutils
    for f in "$@"; do
        install -D -m755 "$root/$f" "$dest/$f"
        copy_libraries "$root" "$dest" "$root/$f"
    done
}
# copy_libraries ROOT DESTROOT FILE  - copy what FILE is linked with, found anywhere in ROOT, and what that needs.
copy_libraries() {
    local root=$1 dest=$2 file=$3 lib src to
    for lib in $(readelf -d "$file" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'); do
        to=lib/x86_64-linux-gnu/$lib
        [[ $lib != ld-linux-x86-64.so.2 ]] || to=lib64/$lib
        [[ ! -e $dest/$to ]] || continue
        src=$(find "$root" -name "$lib" | head -n1)
        [[ -n $src ]] || die "$file needs $lib, which none of its packages holds"
        install -D -m755 "$src" "$dest/$to"
        copy_libraries "$root" "$dest" "$src"
    done
}

#!/bin/bash
# Builds the guests of the whole-machine tests from Debian's packages.  Nothing is installed and root is not needed:
# packages are fetched with a private apt state and unpacked.
#
#   usage: build.sh OUTDIR [GUEST...]       GUEST: boot linux64 linux32 network rescue multiboot floppy memtest firmware
#                                           nested xen (default: all of these), debian installer
#
# boot: the first two lines of linux64, all that an interactive boot by --kernel needs.
# linux64 (Debian's unmodified cloud kernel for amd64, LZ4)
#   linux64.vmlinuz        bzImage                       linux64.cpio.gz        busybox initramfs, see src/init
#   linux64.vmlinux        the same as ELF (PVH entry)   linux64-disk.cpio.gz   and drivers for disk and CD-ROM
#   linux64-ext4.img       raw disk: MBR, GRUB 2, ext4
#   linux64-fat.img        raw disk: MBR, SYSLINUX, FAT16
#   linux64.iso            El Torito with ISOLINUX (also isohybrid)
#   linux64-grub.iso       El Torito with GRUB 2
# linux32 (Debian's unmodified i386 kernels)
#   linux32.vmlinuz        686: two-level paging         linux32-pae.vmlinuz    686-pae: PAE, NX
#   linux32.cpio.gz  linux32-disk.cpio.gz  linux32-fat.img  linux32.iso (ISOLINUX: 686)  linux32-pae.iso (686-pae)
# network: initramfs with drivers of network cards and src/network, for the kernels above
#   linux64-net.cpio.gz  virtio           linux32-net.cpio.gz  (686) virtio, e1000, ne2k-pci
#   ipxe.iso  pxe-*.rom  iPXE as a CD and as boot ROMs of network cards
# rescue (Debian's GRUB rescue media)
#   grub-rescue-cdrom.iso  grub-rescue-floppy.img
# floppy
#   floppy.img             1.44M, FAT12: SYSLINUX, and a file whose hash the guest checks
# memtest
#   memtest.iso            Debian's memtest86+ for amd64
# multiboot
#   multiboot.elf          a small multiboot 1 kernel, src/multiboot.asm
# firmware
#   bios/                  SeaBIOS and SeaVGABIOS
# nested: the kernel of linux64 as a hypervisor, see src/nested
#   nested.cpio.gz         KVM's modules, a small VMM (src/small_vmm.c), Debian's QEMU, the kernel for its guests
# xen: Debian's hypervisor and its generic kernel as dom0, see src/xen
#   xen.elf                the hypervisor: multiboot          xen.cpio.gz     initramfs of a dom0 that only reports
#   xen.vmlinux            the kernel, as ELF                 xen-xl.cpio.gz  and one with xl, xenstored and a guest
#   xen.iso  xen.img       CD-ROM and disk with GRUB 2: PV dom0
# installer (only when named: 130 MB to fetch)
#   installer.vmlinuz  installer.cpio.gz    Debian's network installer in text mode
# debian (only when named: some minutes, 1 GiB, and root, since debootstrap uses chroot)
#   debian.img             raw disk: MBR, GRUB 2, one ext4 partition with a journal; Debian with systemd, its cloud kernel
#                          and initramfs, gcc; DHCP; root has no password; /root/payload is 64 MiB (see payload_64m)
#
# A guest is built again only when this kit has changed since; GUEST.stamp says from which state it comes.
set -euo pipefail
. "$(dirname "$0")/lib/common.sh"
. "$(dirname "$0")/lib/media.sh"
[[ $# -ge 1 && $1 != -* ]] || die "usage: $0 OUTDIR [boot] [linux64] [linux32] [network] [rescue] [multiboot]" \
    "[floppy] [memtest] [firmware] [nested] [xen] [debian] [installer]"
need cpio python3 gzip xz:xz-utils lz4 dpkg-deb:dpkg apt-get:apt
STATE=$(cat "$GK_DIR"/build.sh "$GK_DIR"/lib/* "$GK_DIR"/src/* "$GK_DIR"/tools/*.py | sha256sum | cut -c1-16)

DISK_MODULES="ata_piix ata_generic sd_mod sr_mod isofs vfat nls_cp437 nls_iso8859-1 nls_ascii ext4 virtio_pci virtio_scsi"
# What the cloud kernel does not have.
MORE_DISK_MODULES="ahci nvme virtio_blk floppy"
# Of the generic kernels only: the cloud kernel has none of these.
PORT_MODULES="9pnet_virtio 9p parport_pc lp psmouse evdev button"
FAT_DISK="gk.load=ata_piix,sd_mod,vfat,nls_cp437,nls_iso8859-1,nls_ascii gk.disk=sda1"
CDROM="gk.load=ata_piix,sr_mod,isofs gk.disk=sr0"
# Of all that xen-utils depends on, what xl and its daemons link to.
XEN_PACKAGES="libxen|xen-utils-4|xenstore-utils|libc6$|libgcc-s1|liblzma5|zlib1g|libbz2|libzstd1|libyajl2|libuuid1|libnl|\
libsystemd0|libncurses6|libtinfo6|libcom-err2|libext2fs2|libpython3.11$"
CMDLINE="console=tty0 console=ttyS0,115200"

# payload DIR KERNEL INITRD  - what boot media hold: both, and a file whose hash the guest checks.
payload() {
    local d=$1
    mkdir -p "$d/boot"
    cp "$2" "$d/boot/vmlinuz"
    cp "$3" "$d/boot/initrd"
    python3 -c 'print("".join("%08d guest kit payload\n" % i for i in range(200000)), end="")' >"$d/gk-payload"
    (cd "$d" && sha256sum gk-payload >gk-payload.sha256)
}
grub_cfg() { # ROOT EXTRA
    cat <<CFG
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set root=$1
echo "GK-MARK grub up"
linux /boot/vmlinuz $CMDLINE $2
initrd /boot/initrd
boot
CFG
}
syslinux_cfg() { # EXTRA
    cat <<CFG
SERIAL 0 115200
SAY GK-MARK syslinux up
DEFAULT gk
PROMPT 0
LABEL gk
  KERNEL /boot/vmlinuz
  INITRD /boot/initrd
  APPEND $CMDLINE $1
CFG
}
fat_disk() { # FILE KERNEL INITRD MIB
    local d=$GK_TMP/fat-${1##*/}
    payload "$d" "$2" "$3"
    syslinux_cfg "$FAT_DISK" >"$d/syslinux.cfg"
    make_fat "$GK_TMP/fs.img" "$4" "$d"
    make_mbr_disk "$1" "$GK_TMP/fs.img" 06
    install_syslinux_fat "$1"
}
isolinux_iso() { # FILE KERNEL INITRD
    local d=$GK_TMP/iso-${1##*/}
    payload "$d" "$2" "$3"
    mkdir -p "$d/isolinux"
    syslinux_cfg "$CDROM" >"$d/isolinux/isolinux.cfg"
    make_iso_isolinux "$1" "$d"
}

build_boot() {
    kernel_root amd64 linux-image-cloud-amd64
    say "kernel $GK_KVER"
    install -m644 "$GK_VMLINUZ" "$OUT/linux64.vmlinuz"
    base_initramfs amd64 "$GK_TMP/boot64" linux64
    make_cpio "$GK_TMP/boot64" "$OUT/linux64.cpio.gz"
}
build_linux64() {
    local initrd=$OUT/linux64-disk.cpio.gz kernel=$OUT/linux64.vmlinuz d
    guest boot
    kernel_root amd64 linux-image-cloud-amd64
    python3 "$GK_DIR/tools/extract_vmlinux.py" "$kernel" "$OUT/linux64.vmlinux"
    base_initramfs amd64 "$GK_TMP/disk64" linux64-disk
    # shellcheck disable=SC2086
    add_modules "$GK_KROOT" "$GK_TMP/disk64" $DISK_MODULES virtio_blk virtio_rng virtio_net virtio_console \
        virtio_balloon button evdev
    make_cpio "$GK_TMP/disk64" "$initrd"
    say "disk with GRUB and ext4"
    d=$GK_TMP/ext4
    payload "$d" "$kernel" "$initrd"
    make_ext4 "$GK_TMP/fs.img" 48 "$d"
    make_mbr_disk "$OUT/linux64-ext4.img" "$GK_TMP/fs.img" 83
    grub_cfg '(hd0,msdos1)' "gk.load=ata_piix,sd_mod,ext4 gk.disk=sda1" >"$GK_TMP/grub.cfg"
    install_grub_mbr "$OUT/linux64-ext4.img" "$GK_TMP/grub.cfg"
    say "disk with SYSLINUX and FAT"
    fat_disk "$OUT/linux64-fat.img" "$kernel" "$initrd" 48
    say "ISO with ISOLINUX"
    isolinux_iso "$OUT/linux64.iso" "$kernel" "$initrd"
    say "ISO with GRUB"
    d=$GK_TMP/iso-grub
    payload "$d" "$kernel" "$initrd"
    grub_cfg '(cd)' "$CDROM" >"$GK_TMP/grub.cfg"
    make_iso_grub "$OUT/linux64-grub.iso" "$d" "$GK_TMP/grub.cfg"
}
build_linux32() {
    local flavour name kernel
    for flavour in 686-pae 686; do
        name=linux32; [[ $flavour == 686 ]] || name=linux32-pae
        kernel_root i386 "linux-image-$flavour"
        say "kernel $GK_KVER"
        kernel=$OUT/$name.vmlinuz
        install -m644 "$GK_VMLINUZ" "$kernel"
        base_initramfs i386 "$GK_TMP/disk-$name" "$name-disk"
        # shellcheck disable=SC2086
        add_modules "$GK_KROOT" "$GK_TMP/disk-$name" $DISK_MODULES $MORE_DISK_MODULES $PORT_MODULES
        make_cpio "$GK_TMP/disk-$name" "$OUT/$name-disk.cpio.gz"
        isolinux_iso "$OUT/$name.iso" "$kernel" "$OUT/$name-disk.cpio.gz"
    done
    base_initramfs i386 "$GK_TMP/small32" linux32
    make_cpio "$GK_TMP/small32" "$OUT/linux32.cpio.gz"
    say "disk with SYSLINUX and FAT"
    fat_disk "$OUT/linux32-fat.img" "$OUT/linux32.vmlinuz" "$OUT/linux32-disk.cpio.gz" 32
}
build_network() {
    local arch flavour modules="virtio_pci virtio_net" name=linux64-net
    for arch in amd64 i386; do
        flavour=linux-image-cloud-amd64
        [[ $arch == amd64 ]] || { flavour=linux-image-686 name=linux32-net modules+=" e1000 ne2k-pci"; }
        kernel_root "$arch" "$flavour"
        base_initramfs "$arch" "$GK_TMP/$name" "$name"
        install -m755 "$GK_DIR/src/network" "$GK_TMP/$name/gk/network"
        # shellcheck disable=SC2086
        add_modules "$GK_KROOT" "$GK_TMP/$name" $modules
        make_cpio "$GK_TMP/$name" "$OUT/$name.cpio.gz"
    done
    deb_unpack amd64 "$GK_TMP/ipxe" ipxe ipxe-qemu
    install -m644 "$GK_TMP/ipxe/usr/lib/ipxe/ipxe.iso" "$OUT/ipxe.iso"
    install -m644 -t "$OUT" "$GK_TMP"/ipxe/usr/lib/ipxe/qemu/pxe-{virtio,e1000,ne2k_pci}.rom
}
build_rescue() {
    deb_unpack amd64 "$GK_TMP/rescue" grub-rescue-pc
    cp "$GK_TMP"/rescue/usr/lib/grub-rescue/grub-rescue-{cdrom.iso,floppy.img} "$OUT/"
}
build_installer() {
    local d=$GK_TMP/installer
    deb_unpack amd64 "$d" debian-installer-12-netboot-amd64
    d=$(dirname "$(find "$d" -path '*/text/debian-installer/amd64/initrd.gz' | head -n 1)")
    cp "$d/linux" "$OUT/installer.vmlinuz"
    cp "$d/initrd.gz" "$OUT/installer.cpio.gz"
}
build_floppy() {
    local d=$GK_TMP/floppy root
    mkdir -p "$d"
    python3 -c 'print("".join("%08d guest kit payload\n" % i for i in range(10000)), end="")' >"$d/gk-payload"
    (cd "$d" && sha256sum gk-payload >gk-payload.sha256)
    root=$(tool_root amd64 syslinux-common)
    cp "$root"/usr/lib/syslinux/modules/bios/{libcom32,libutil,cat}.c32 "$d/"
    echo "GK-MARK floppy file read" >"$d/mark.txt"
    printf 'SERIAL 0 115200\nSAY GK-MARK floppy up\nDEFAULT gk\nPROMPT 0\nLABEL gk\n  COM32 cat.c32\n  APPEND mark.txt\n' \
        >"$d/syslinux.cfg"
    make_floppy "$OUT/floppy.img" "$d"
}
build_memtest() {
    deb_unpack amd64 "$GK_TMP/memtest" memtest86+
    install -m644 "$(find "$GK_TMP/memtest" -name 'memtest86+x64.iso' | head -n1)" "$OUT/memtest.iso"
}
build_multiboot() {
    use_tool nasm nasm
    nasm -f bin -o "$OUT/multiboot.elf" "$GK_DIR/src/multiboot.asm"
}
build_firmware() {
    deb_unpack amd64 "$GK_TMP/firmware" seabios
    mkdir -p "$OUT/bios"
    cp -L "$GK_TMP"/firmware/usr/share/seabios/*.bin "$OUT/bios/"
}
build_nested() {
    local d=$GK_TMP/nested root=$GK_TMP/qemu compiler=gcc file
    guest boot
    [[ $(gcc -dumpmachine) == x86_64-* ]] || compiler=x86_64-linux-gnu-gcc
    need "$compiler:gcc-x86-64-linux-gnu"
    kernel_root amd64 linux-image-cloud-amd64
    base_initramfs amd64 "$d" level1
    add_modules "$GK_KROOT" "$d" kvm-intel kvm-amd
    "$compiler" -static -O2 -s -o "$d/gk/small_vmm" "$GK_DIR/src/small_vmm.c"
    install -m755 "$GK_DIR/src/nested" "$d/gk/nested"
    cp "$GK_VMLINUZ" "$d/gk/vmlinuz"
    deb_unpack amd64 "$root" qemu-system-x86 qemu-system-data seabios libpixman-1-0 zlib1g libfdt1 libglib2.0-0 \
        libpcre2-8-0 libgcc-s1 libc6
    install -D -m755 -t "$root/bin" "$root/usr/bin/qemu-system-x86_64-microvm"
    copy_elf "$root" "$d" bin/qemu-system-x86_64-microvm
    for file in qemu/{qboot.rom,linuxboot_dma.bin,kvmvapic.bin} seabios/bios-256k.bin; do
        install -D -m644 "$root/usr/share/$file" "$d/usr/share/$file"
    done
    ln -s qboot.rom "$d/usr/share/qemu/bios-microvm.bin"
    make_cpio "$d" "$OUT/nested.cpio.gz"
}
xen_grub_cfg() { # ROOT
    cat <<CFG
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set root=$1
echo "GK-MARK grub up"
multiboot2 /boot/xen com1=115200,8n1 console=com1 noreboot=1 dom0_mem=384M
module2 /boot/vmlinux console=hvc0 cryptomgr.notests gk.run=xen
module2 --nounzip /boot/initrd
boot
CFG
}
build_xen() {
    local d=$GK_TMP/xen-dom0 root=$GK_TMP/xen-tools cloud packages
    deb_unpack amd64 "$GK_TMP/xen" xen-hypervisor-4.17-amd64
    gzip -dc "$GK_TMP/xen/boot/xen-4.17-amd64.gz" >"$OUT/xen.elf"
    kernel_root amd64 linux-image-cloud-amd64
    cloud=$GK_VMLINUZ
    kernel_root amd64 linux-image-amd64
    say "dom0 kernel $GK_KVER"
    # Uncompressed, which spares Xen two thousand million instructions.
    python3 "$GK_DIR/tools/extract_vmlinux.py" "$GK_VMLINUZ" "$OUT/xen.vmlinux"
    base_initramfs amd64 "$d" dom0
    add_modules "$GK_KROOT" "$d" xenfs xen-privcmd xen-evtchn xen-gntdev xen-gntalloc
    install -m755 "$GK_DIR/src/xen" "$d/gk/xen"
    make_cpio "$d" "$OUT/xen.cpio.gz"
    say "xl and what it needs"
    mapfile -t packages < <(deb_closure amd64 xen-utils-4.17 | grep -E "^($XEN_PACKAGES)")
    deb_unpack amd64 "$root" "${packages[@]}" liblzo2-2
    copy_elf "$root" "$d" usr/lib/xen-4.17/bin/{xl,xenstored,xenconsoled,xen-init-dom0,libxl-save-helper} \
        usr/bin/xenstore-read
    mv "$d"/usr/bin/xenstore-read "$d/bin/"
    cp -L "$(find "$root" -name libgcc_s.so.1 | head -n 1)" "$d/lib/x86_64-linux-gnu/" # loaded at run time
    mkdir -p "$d/etc/xen" "$d/usr/share" "$d/var/lib" "$d/var/log"
    : >"$d/etc/xen/xl.conf"
    base_initramfs amd64 "$GK_TMP/xen-guest" guest
    make_cpio "$GK_TMP/xen-guest" "$d/gk/guest.cpio.gz"
    cp "$cloud" "$d/gk/vmlinuz"
    make_cpio "$d" "$OUT/xen-xl.cpio.gz"
    say "CD-ROM and disk with GRUB"
    d=$GK_TMP/xen-media
    mkdir -p "$d/boot"
    cp "$OUT/xen.elf" "$d/boot/xen"
    cp "$OUT/xen.vmlinux" "$d/boot/vmlinux"
    cp "$OUT/xen.cpio.gz" "$d/boot/initrd"
    make_ext4 "$GK_TMP/fs.img" 96 "$d"
    make_mbr_disk "$OUT/xen.img" "$GK_TMP/fs.img" 83
    xen_grub_cfg '(hd0,msdos1)' >"$GK_TMP/grub.cfg"
    install_grub_mbr "$OUT/xen.img" "$GK_TMP/grub.cfg"
    xen_grub_cfg '(cd)' >"$GK_TMP/grub.cfg"
    make_iso_grub "$OUT/xen.iso" "$d" "$GK_TMP/grub.cfg"
}
# payload_64m  - 64 MiB that a test can make again: SHAKE-128 of "x86emu".
payload_64m() { python3 -c 'import hashlib, sys; sys.stdout.buffer.write(hashlib.shake_128(b"x86emu").digest(64 << 20))'; }
DEBIAN_PACKAGES=systemd-sysv,udev,kmod,dbus,linux-image-cloud-amd64,initramfs-tools,zstd,iproute2,procps,gcc,libc6-dev
# debian_root DIR  - a Debian system below DIR; made once for a suite and a list of packages.
debian_root() {
    local root=$1 log=$GK_CACHE/debian.log kver
    [[ -e $root.done && $(<"$root.done") == "$GK_SUITE $DEBIAN_PACKAGES" ]] && return
    ((EUID == 0)) || die "the guest debian needs root (debootstrap); run it with sudo, or build the others without it"
    need debootstrap chroot:coreutils
    say "debootstrap (some minutes)"
    umount "$root/proc" "$root/sys" 2>/dev/null || true
    rm -rf "$root" "$root.done"
    debootstrap --variant=minbase --arch=amd64 --cache-dir="$(cd "$GK_CACHE/debs" && pwd)" --include="$DEBIAN_PACKAGES" \
        "$GK_SUITE" "$root" "$GK_MIRROR" >"$log" 2>&1 || { tail -n 20 "$log" >&2; die "debootstrap failed: $log"; }
    echo debian >"$root/etc/hostname"
    echo '127.0.0.1 localhost debian' >"$root/etc/hosts"
    echo 'LABEL=gkroot / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
    printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n' >"$root/etc/systemd/network/20-wired.network"
    # Nobody need wait for a network that the machine may not have.
    chroot "$root" systemctl -q enable systemd-networkd
    chroot "$root" systemctl -q mask systemd-networkd-wait-online
    # What a timer starts is different in each run and slows the guest down.
    chroot "$root" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer
    chroot "$root" passwd -d root >/dev/null
    : >"$root/etc/machine-id"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    kver=$(ls "$root/lib/modules")
    ln -sf "vmlinuz-$kver" "$root/boot/vmlinuz"
    ln -sf "initrd.img-$kver" "$root/boot/initrd"
    payload_64m >"$root/root/payload"
    umount "$root/proc" "$root/sys" 2>/dev/null || true
    printf '%s' "$GK_SUITE $DEBIAN_PACKAGES" >"$root.done"
}
build_debian() {
    local root=$GK_CACHE/debian-root
    debian_root "$root"
    chroot "$root" dpkg-query -W -f '${Package} ${Version} ${Architecture}\n' >>"$GK_VERSIONS.new"
    say "disk of Debian"
    make_ext4 "$GK_TMP/fs.img" 1535 "$root" ^metadata_csum_seed,^orphan_file,has_journal
    make_mbr_disk "$GK_TMP/debian.img" "$GK_TMP/fs.img" 83
    grub_cfg '(hd0,msdos1)' "root=LABEL=gkroot ro" >"$GK_TMP/grub.cfg"
    install_grub_mbr "$GK_TMP/debian.img" "$GK_TMP/grub.cfg"
    cp --sparse=always "$GK_TMP/debian.img" "$OUT/debian.img"
}
# guest NAME  - builds it, unless it is there already from the same state of the kit.
guest() {
    local name=$1 stamp=$OUT/$1.stamp
    if [[ -e $stamp && $(<"$stamp") == "$STATE" ]]; then return; fi
    rm -f "$stamp"
    say "building $name"
    "build_$name"
    printf '%s\n' "$STATE" >"$stamp"
}

output=$1; shift
start_output "$output" guests
for name in "${@:-linux64 linux32 network rescue multiboot floppy memtest firmware nested xen}"; do
    for one in $name; do
        case $one in
        boot | linux64 | linux32 | network | rescue | multiboot | floppy | memtest | firmware | nested | xen | debian | installer)
            guest "$one" ;;
        *) die "no guest is named $one; there are boot, linux64, linux32, network, rescue, multiboot, floppy, memtest, firmware," \
            "nested, xen, debian and installer" ;;
        esac
    done
done
finish_output

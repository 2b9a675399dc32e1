# shellcheck shell=bash
# Bootable media without root, loop devices or mounts.  Source after common.sh.
#
# Every loader comes from its Debian package:
#   GRUB 2    grub-pc-bin (boot.img, i386-pc modules), made with grub-mkimage
#   SYSLINUX  syslinux / syslinux-common (ldlinux.sys on FAT, mbr.bin)
#   ISOLINUX  isolinux (isolinux.bin, El Torito no-emulation boot)

GK_PART_START=2048   # first sector of the only partition (1 MiB)

# make_ext4 FILE SIZE_MIB DIR [FEATURES]  - an ext4 file system that GRUB 2.06 can read, without a journal.
make_ext4() {
    local file=$1 size=$2 dir=$3 features=${4:-^metadata_csum_seed,^orphan_file,^has_journal}
    use_tool mke2fs e2fsprogs libext2fs2 libcom-err2
    rm -f "$file"; truncate -s "${size}M" "$file"
    mke2fs -q -t ext4 -O "$features" -L gkroot \
        -U 00000000-0000-4000-8000-000000000001 -E hash_seed=00000000-0000-4000-8000-000000000002,lazy_itable_init=0,root_owner=0:0 \
        -d "$dir" "$file"
}
# make_fat FILE SIZE_MIB DIR  - a FAT16 file system (hidden sectors set for the partition).
make_fat() {
    local file=$1 size=$2 dir=$3
    use_tool mkfs.vfat dosfstools
    use_tool mcopy mtools
    rm -f "$file"; truncate -s "${size}M" "$file"
    mkfs.vfat -F 16 -n GKBOOT -i 47554553 -h $GK_PART_START "$file" >/dev/null
    (cd "$dir" && mcopy -Q -s -m -i "$file" -- * ::)
}
# make_mbr_disk FILE FSIMAGE TYPEHEX  - an MBR disk with one active partition
# that holds FSIMAGE.  The partition table is written by hand (LBA, fake CHS).
make_mbr_disk() {
    local disk=$1 fs=$2 type=$3 sectors
    sectors=$(($(stat -c %s "$fs") / 512))
    rm -f "$disk"
    truncate -s $(((GK_PART_START + sectors) * 512)) "$disk"
    dd if="$fs" of="$disk" bs=1M seek=$((GK_PART_START / 2048)) conv=notrunc,sparse status=none
    python3 - "$disk" "$GK_PART_START" "$sectors" "$type" <<'PY'
import struct, sys
disk, start, n, kind = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4], 16)
def chs(lba, heads=255, spt=63):
    c, r = divmod(lba, heads * spt); h, s = divmod(r, spt)
    return bytes([254, 255, 255]) if c > 1023 else bytes([h, (s + 1) | (c >> 8 << 6), c & 255])
entry = bytes([0x80]) + chs(start) + bytes([kind]) + chs(start + n - 1) + struct.pack('<II', start, n)
with open(disk, 'r+b') as f:
    f.seek(440); f.write(struct.pack('<IH', 0x474b0001, 0))   # disk signature
    f.seek(446); f.write(entry + bytes(48) + b'\x55\xaa')
PY
}
# grub_tree  - print the directory of GRUB's i386-pc files.
grub_tree() {
    local root; root=$(tool_root amd64 grub-pc-bin)
    printf '%s\n' "$root/usr/lib/grub/i386-pc"
}
GK_GRUB_MODULES="biosdisk part_msdos ext2 fat iso9660 normal configfile linux multiboot multiboot2
    echo serial terminal test sleep halt reboot boot gzio cat ls minicmd cpuid all_video vbe vga_text"

# install_grub_mbr DISK CONFIG  - GRUB in the MBR and the gap behind it, with
# CONFIG built in.  boot.img loads core.img from sector 1 on; these are the
# defaults that boot.S/diskboot.S are assembled with, so nothing needs patching.
install_grub_mbr() {
    local disk=$1 cfg=$2 tree size
    tree=$(grub_tree)
    use_tool grub-mkimage grub-common libdevmapper1.02.1 liblzma5 libfuse3-3 libfreetype6
    # shellcheck disable=SC2086
    grub-mkimage -d "$tree" -O i386-pc -o "$GK_TMP/core.img" -p '(hd0,msdos1)/boot/grub' \
        -c "$cfg" $GK_GRUB_MODULES
    size=$(stat -c %s "$GK_TMP/core.img")
    ((size <= (GK_PART_START - 1) * 512)) || die "core.img too large ($size)"
    dd if="$tree/boot.img" of="$disk" bs=440 count=1 conv=notrunc status=none
    dd if="$GK_TMP/core.img" of="$disk" bs=512 seek=1 conv=notrunc status=none
}
# install_syslinux_fat DISK  - SYSLINUX onto the FAT partition and its MBR.
install_syslinux_fat() {
    local disk=$1 root
    root=$(tool_root amd64 syslinux-common)
    use_tool mcopy mtools
    use_tool syslinux syslinux
    syslinux --install --offset $((GK_PART_START * 512)) "$disk"
    dd if="$root/usr/lib/syslinux/mbr/mbr.bin" of="$disk" bs=440 count=1 conv=notrunc status=none
}
# make_floppy FILE DIR  - a 1.44M disk with FAT12 and SYSLINUX, made from scratch.
make_floppy() {
    local floppy=$1 dir=$2 root
    root=$(tool_root amd64 syslinux-common)
    use_tool mkfs.vfat dosfstools
    use_tool mcopy mtools
    use_tool syslinux syslinux
    cp "$root/usr/lib/syslinux/modules/bios/ldlinux.c32" "$dir/"
    rm -f "$floppy"
    mkfs.vfat -F 12 -n GKFLOPPY -i 47554600 -C "$floppy" 1440 >/dev/null
    (cd "$dir" && mcopy -Q -s -m -i "$floppy" -- * ::)
    syslinux --install "$floppy"
}
# make_iso_isolinux ISO DIR  - ISO 9660 with ISOLINUX (El Torito, no emulation);
# DIR/isolinux/isolinux.cfg must exist.  Also bootable as a hard disk (isohybrid).
make_iso_isolinux() {
    local iso=$1 dir=$2 root
    root=$(tool_root amd64 isolinux syslinux-common)
    use_tool xorriso xorriso libisoburn1 libburn4 libisofs6 libjte2
    cp "$root/usr/lib/ISOLINUX/isolinux.bin" "$root/usr/lib/syslinux/modules/bios/ldlinux.c32" "$dir/isolinux/"
    rm -f "$iso"
    xorriso -report_about WARNING -as mkisofs -quiet -o "$iso" -V GUESTKIT -R -J \
        -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot -boot-load-size 4 -boot-info-table \
        -isohybrid-mbr "$root/usr/lib/ISOLINUX/isohdpfx.bin" "$dir"
}
# make_iso_grub ISO DIR CONFIG  - ISO 9660 with GRUB (El Torito, no emulation).
make_iso_grub() {
    local iso=$1 dir=$2 cfg=$3 tree
    tree=$(grub_tree)
    use_tool xorriso xorriso libisoburn1 libburn4 libisofs6 libjte2
    use_tool grub-mkimage grub-common libdevmapper1.02.1 liblzma5 libfuse3-3 libfreetype6
    mkdir -p "$dir/boot/grub"
    # shellcheck disable=SC2086
    grub-mkimage -d "$tree" -O i386-pc-eltorito -o "$dir/boot/grub/eltorito.img" -p '(cd)/boot/grub' \
        -c "$cfg" $GK_GRUB_MODULES
    rm -f "$iso"
    xorriso -report_about WARNING -as mkisofs -quiet -o "$iso" -V GUESTKIT -R -J \
        -b boot/grub/eltorito.img -no-emul-boot -boot-load-size 4 -boot-info-table --grub2-boot-info "$dir"
}

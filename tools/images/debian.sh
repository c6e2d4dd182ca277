#!/bin/sh
# A Debian 12 guest as vendors ship images: partitioned, with a bootloader, systemd and OpenSSH; its key comes as a systemd credential.
#   debian.sh packages NAME VERSION     the packages it is made from, without what they depend on
#   debian.sh build NAME VERSION WORK SOURCES   makes WORK/out from what that sources.list names
set -eu
do=$1 name=$2 version=$3
packages='linux-image-cloud-amd64 initramfs-tools zstd grub-pc-bin grub-common systemd systemd-sysv udev dbus
openssh-server iproute2 procps less attr acl'

if [ "$do" = packages ]; then
  echo $packages
  exit
fi

work=$4 sources=$5
root=$work/root
umask 022
# Drivers of disks that a hypervisor may give it; a generic initrd takes ten seconds longer to load by emulated BIOS calls.
cat >"$work/modules" <<'END'
virtio_pci
virtio_blk
virtio_scsi
sd_mod
ahci
END
mmdebstrap --quiet --variant=minbase --architectures=amd64 \
  --include="$(echo $packages | tr ' ' ,)" \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --dpkgopt='path-exclude=/usr/share/doc/*' \
  --aptopt='APT::Install-Recommends "false"' \
  --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
  --essential-hook='echo MODULES=list >"$1/etc/initramfs-tools/conf.d/vml"' \
  --essential-hook="cp '$work/modules' \"\$1/etc/initramfs-tools/modules\"" \
  --essential-hook='printf "do_symlinks = yes\nlink_in_boot = yes\n" >"$1/etc/kernel-img.conf"' \
  bookworm "$root" "$sources"

# --- the system ---------------------------------------------------------------------------------------------------------
echo debian >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 debian\n' >"$root/etc/hosts"
echo 'LABEL=debian-root / ext4 defaults 0 1' >"$root/etc/fstab"
: >"$root/etc/machine-id"
rm -f "$root"/etc/ssh/ssh_host_*
printf '[Match]\nType=ether\n[Network]\nDHCP=yes\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n' >"$root/etc/systemd/network/20-dhcp.network"
echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf"
printf 'HostKey /etc/ssh/ssh_host_ed25519_key\nUseDNS no\n' >"$root/etc/ssh/sshd_config.d/image.conf"
cat >"$root/etc/systemd/system/ssh-host-key.service" <<'END'
[Unit]
Description=Makes this machine's ssh host key
Before=ssh.service
ConditionPathExists=!/etc/ssh/ssh_host_ed25519_key
[Service]
Type=oneshot
ExecStart=/usr/bin/ssh-keygen -q -t ed25519 -N "" -C "" -f /etc/ssh/ssh_host_ed25519_key
[Install]
WantedBy=multi-user.target
END
for unit in systemd-networkd.service ssh.service ssh-host-key.service; do
  chroot "$root" systemctl -q enable "$unit"
done
# What only costs time in a guest that lives for minutes.
for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer e2scrub_reap.service dpkg-db-backup.timer fstrim.timer \
  systemd-networkd-wait-online.service systemd-pstore.service systemd-timesyncd.service systemd-random-seed.service \
  systemd-update-utmp.service systemd-update-utmp-runlevel.service getty@tty1.service serial-getty@ttyS0.service; do
  chroot "$root" systemctl -q mask "$unit"
done
chroot "$root" useradd -m -u 1000 -s /bin/bash debian
# As if these had never been in the packages: dpkg --verify then speaks of changes only.
sed -E -i '\,^/usr/share/(man|locale|doc)(/|$),d' "$root"/var/lib/dpkg/info/*.list
sed -E -i '\,^[0-9a-f]+  usr/share/(man|locale|doc)/,d' "$root"/var/lib/dpkg/info/*.md5sums
rm -rf "$root"/usr/share/man "$root"/usr/share/locale "$root"/usr/share/doc
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*.bin "$root"/var/log/*.log "$root"/var/log/apt

# --- the bootloader -----------------------------------------------------------------------------------------------------
# Without loop devices or root on the disk: boot.img in sector 0 starts sector 1, where core.img expects itself to lie.
mkdir -p "$root/boot/grub"
cat >"$root/boot/grub/grub.cfg" <<'END'
linux /boot/vmlinuz root=LABEL=debian-root ro console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check random.trust_cpu=on mitigations=off 8250.nr_uarts=1 fsck.mode=skip
initrd /boot/initrd.img
boot
END
chroot "$root" grub-mkimage -O i386-pc -p '(hd0,msdos1)/boot/grub' -o /core.img biosdisk part_msdos ext2 normal linux configfile
mv "$root/core.img" "$work/core.img"
[ "$(stat -c %s "$work/core.img")" -lt $((2047 * 512)) ]

first=2048
sectors=$((2 * 1024 * 1024 * 2))
truncate -s $(((first + sectors) * 512)) "$work/disk.raw"
echo "start=$first size=$sectors type=83 bootable" | sfdisk -q "$work/disk.raw"
dd if="$root/usr/lib/grub/i386-pc/boot.img" of="$work/disk.raw" bs=440 count=1 conv=notrunc status=none
dd if="$work/core.img" of="$work/disk.raw" bs=512 seek=1 conv=notrunc status=none
mke2fs -q -t ext4 -L debian-root -E lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0,offset=$((first * 512)) \
  -d "$root" "$work/disk.raw" $((sectors / 2))k
qemu-img convert -q -c -O qcow2 -o compat=1.1 "$work/disk.raw" "$work/out/disk1.img"
cat >"$work/out/image.json.new" <<END
{
  "name": "$name",
  "version": "$version",
  "arch": "amd64",
  "os": "Debian",
  "format": "qcow2",
  "virtualSize": $(((first + sectors) * 512)),
  "seed": "systemd-credentials",
  "user": "debian",
  "disk": {"path":"disk1.img","sha256":"$(sha256sum "$work/out/disk1.img" | cut -d' ' -f1)","size":$(stat -c %s "$work/out/disk1.img")}
}
END
mv "$work/out/image.json.new" "$work/out/image.json"

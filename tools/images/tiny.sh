#!/bin/sh
# The tiny guest: Debian's cloud kernel booted directly, and an ext4 root of busybox, OpenSSH and a few packages of Debian.
#   tiny.sh packages NAME VERSION               the packages it is made from
#   tiny.sh build NAME VERSION WORK PACKAGE...  makes WORK/out from their files
set -eu
here=$(cd "$(dirname "$0")" && pwd -P)
do=$1 name=$2 version=$3

# Each with the libraries that it really loads. Scripts of packages that want debconf, perl or systemd are left out.
guest='libc6 libc-bin libgcc-s1 gcc-12-base libcrypt1 bash libtinfo6 dpkg libbz2-1.0 liblzma5 libmd0 libselinux1 libpcre2-8-0 libzstd1
zlib1g openssh-server openssh-client libssl3 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2
libkeyutils1 libpam0g libaudit1 libcap-ng0 libsystemd0 libcap2 libgcrypt20 libgpg-error0 liblz4-1 libwrap0 libnsl2
libtirpc3 libtirpc-common libedit2 libbsd0 libfido2-1 libcbor0.8 libudev1 attr libattr1 acl libacl1 busybox-static'
# dash is sh, as on Debian: busybox's own sh would run its tar and find before those of the packages.
[ "$name" = tiny-busybox ] || guest="$guest dash tar findutils"
[ "$version" = 1 ] || guest="$guest less"
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^  Depends: //p')

if [ "$do" = packages ]; then
  # tcc and libc6-dev only compile, and stay outside of the guest.
  echo $guest "$kernel" tcc libc6-dev linux-libc-dev
  exit
fi

work=$4
shift 4
umask 022
root=$work/root
mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates" "$work/kernel" "$work/tools" "$work/initrd/modules"
: >"$root/var/lib/dpkg/status"
: >"$root/var/lib/dpkg/available"

# --- packages: unpacked and configured by dpkg itself, so that its database is a real one -------------------------------
debs=
last=
for deb in "$@"; do
  file=${deb##*/}
  case $file in
    linux-image-*) dpkg-deb -x "$deb" "$work/kernel" ;;
    tcc_* | libc6-dev_* | linux-libc-dev_*) dpkg-deb -x "$deb" "$work/tools" ;;
    libc6_*)
      dpkg-deb -x "$deb" "$work/tools"
      debs="$debs $deb"
      ;;
    busybox-static_*)
      dpkg-deb -x "$deb" "$root"
      debs="$debs $deb"
      ;;
    # Scripts of openssh call dpkg's own; dash becomes sh, which needs libc.
    openssh-* | dash_*) last="$last $deb" ;;
    *) debs="$debs $deb" ;;
  esac
done

# Two packages of our own: the library with its program, and what a base-files package would hold.
compile() {
  "$work/tools/usr/bin/tcc" -B"$work/tools/usr/lib/x86_64-linux-gnu/tcc" -nostdinc \
    -I"$work/tools/usr/lib/x86_64-linux-gnu/tcc/include" -I"$work/tools/usr/include" \
    -I"$work/tools/usr/include/x86_64-linux-gnu" "$@"
}
control() {
  mkdir -p "$work/$1/DEBIAN"
  printf 'Package: %s\nVersion: %s\nArchitecture: amd64\nMaintainer: VML <vml@localhost>\nPriority: %s\nDescription: %s\n' \
    "$1" "$2" "$3" "$4" >"$work/$1/DEBIAN/control"
}
pack() {
  (cd "$work/$1" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | xargs -0r md5sum >DEBIAN/md5sums)
  dpkg-deb --root-owner-group -Znone -b "$work/$1" "$work/$1.deb"
  debs="$debs $work/$1.deb"
}

lib=usr/lib/x86_64-linux-gnu
mkdir -p "$work/libfit1/$lib" "$work/fit/usr/bin"
compile -shared -DFIT_VERSION="$version" -nostdlib -Wl,-soname=libfit.so.1 \
  -o "$work/libfit1/$lib/libfit.so.$version.0" "$here/fit/libfit.c"
ln -s "libfit.so.$version.0" "$work/libfit1/$lib/libfit.so.1"
control libfit1 "$version.0-1" optional 'Fits lines'
pack libfit1
compile -nostdlib -o "$work/fit/usr/bin/fit" "$work/tools/$lib/crt1.o" "$work/tools/$lib/crti.o" "$here/fit/fit.c" \
  "$work/libfit1/$lib/libfit.so.$version.0" "$work/tools/lib/x86_64-linux-gnu/libc.so.6" "$work/tools/$lib/crtn.o"
chmod 755 "$work/fit/usr/bin/fit"
control fit 1.0-1 optional 'Fits a line to the points of a file'
pack fit

mkdir -p "$work/tiny-base/etc"
cat >"$work/tiny-base/etc/os-release" <<END
PRETTY_NAME="Tiny $version"
NAME="Tiny"
ID=tiny
VERSION_ID="$version"
VERSION="$version"
HOME_URL="https://localhost/"
END
control tiny-base "$version" required 'Says which system this is'
pack tiny-base

# Programs that the packages' scripts start; packages then put their own in the place of some.
for applet in $("$root/bin/busybox" --list-full); do
  [ "$applet" != linuxrc ] || continue
  mkdir -p "$root/${applet%/*}"
  [ -e "$root/$applet" ] || ln -s /bin/busybox "$root/$applet"
done
mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/tmp" "$root/root" "$root/mnt" "$root/newroot" \
  "$root/etc/ssh/sshd_config.d" "$root/home/lab" "$root/var/log" "$root/var/tmp" "$root/opt" "$root/srv" "$root/usr/local/bin"
rmdir "$root/newroot"
printf 'root:x:0:0:root:/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\nlab:x:1000:1000:Lab:/home/lab:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n' \
  >"$root/etc/passwd"
printf 'root:x:0:\ntty:x:5:\nshadow:x:42:\nstaff:x:50:\nlab:x:1000:\nnogroup:x:65534:\n' >"$root/etc/group"
printf 'root:*:19000:0:99999:7:::\nsshd:*:19000::::::\nlab:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n' >"$root/etc/shadow"
chmod 640 "$root/etc/shadow"
chown 0:42 "$root/etc/shadow"

dpkg="dpkg --root=$root --force-depends --force-confdef --force-not-root --no-triggers --log=/dev/null"
$dpkg --unpack $debs
$dpkg --unpack $last
# What these scripts would do (accounts, keys, alternatives, services) is done below, or not wanted here.
rm -f "$root"/var/lib/dpkg/info/*.postinst "$root"/var/lib/dpkg/info/*.prerm "$root"/var/lib/dpkg/info/*.postrm \
  "$root"/var/lib/dpkg/info/*.config "$root"/var/lib/dpkg/info/*.templates "$root"/var/lib/dpkg/info/*.preinst \
  "$root"/var/lib/dpkg/info/*.triggers
$dpkg --configure -a
rm -f "$root"/var/lib/dpkg/*-old "$root"/var/lib/dpkg/lock*
: >"$root/var/lib/dpkg/triggers/File" 2>/dev/null || true

# --- the system ---------------------------------------------------------------------------------------------------------
# Manuals and translations go, from dpkg's lists too: dpkg --verify has nothing to say about this guest.
for tree in usr/share/doc usr/share/man usr/share/locale usr/share/info usr/share/lintian usr/lib/systemd lib/systemd; do
  rm -rf "${root:?}/$tree"
  sed -E -i "\,^/$tree(/|\$),d" "$root"/var/lib/dpkg/info/*.list
  sed -E -i "\,^[0-9a-f]+  $tree/,d" "$root"/var/lib/dpkg/info/*.md5sums
done
install -m 755 "$here/tiny/rc" "$root/etc/rc"
install -m 644 "$here/tiny/inittab" "$root/etc/inittab"
# Where acpid looks up what a press of the power button means.
mkdir -p "$root/etc/acpi/PWRF"
printf '#!/bin/sh\nexec poweroff\n' >"$root/etc/acpi/PWRF/00000080"
chmod 755 "$root/etc/acpi/PWRF/00000080"
[ -e "$root/var/run" ] || ln -s /run "$root/var/run"
echo "$name" | tr -d @ >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 %s\n' "$name" >"$root/etc/hosts"
echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf"
printf 'passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n' >"$root/etc/nsswitch.conf"
printf '/bin/sh\n/bin/bash\n' >"$root/etc/shells"
printf 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nexport PATH\n' >"$root/etc/profile"
echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
ln -sf /proc/mounts "$root/etc/mtab"
# As Debian ships it, drop-ins first; without PAM, and with one quickly made host key.
sed -e 's/^UsePAM yes/UsePAM no/' "$root/usr/share/openssh/sshd_config" >"$root/etc/ssh/sshd_config"
printf 'UseDNS no\nHostKey /etc/ssh/ssh_host_ed25519_key\n' >>"$root/etc/ssh/sshd_config"
grep -q '^Include /etc/ssh/sshd_config.d/\*.conf' "$root/etc/ssh/sshd_config"
chroot "$root" /sbin/ldconfig
# The list of packages above is complete when every program finds its libraries.
for program in /usr/sbin/sshd /usr/bin/ssh-keygen /usr/bin/dpkg /bin/getfacl /usr/bin/getfattr /usr/bin/fit; do
  if chroot "$root" /lib64/ld-linux-x86-64.so.2 --list "$program" | grep 'not found'; then exit 1; fi
done
chroot "$root" /usr/bin/fit /etc/passwd | grep "libfit $version"
if dpkg --root="$root" --verify | grep .; then exit 1; fi
chmod 700 "$root/root" "$root/home/lab"
chmod 1777 "$root/tmp" "$root/var/tmp"
printf '# ~/.profile: for login shells\n[ ! -f ~/.bashrc ] || . ~/.bashrc\n' >"$root/home/lab/.profile"
printf '# ~/.bashrc: for interactive shells\nHISTSIZE=10000\n' >"$root/home/lab/.bashrc"
chown -R 1000:1000 "$root/home/lab"

# --- kernel: what the disk needs from the initrd, what a running guest may ask for from the disk -------------------------
release=$(ls "$work/kernel/lib/modules")
depmod -b "$work/kernel" "$release"
modules() {
  for module in "$@"; do
    modprobe -d "$work/kernel" -S "$release" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
  done | awk '!seen[$0]++'
}
for file in $(modules virtio_pci virtio_blk virtio_net virtio-rng qemu_fw_cfg); do
  cp "$file" "$work/initrd/modules/"
  echo "${file##*/}" >>"$work/initrd/modules/order"
done
mkdir -p "$work/initrd/bin" "$work/initrd/proc" "$work/initrd/sys" "$work/initrd/dev" "$work/initrd/newroot"
cp "$root/bin/busybox" "$work/initrd/bin/"
install -m 755 "$here/tiny/init" "$work/initrd/init"
(cd "$work/initrd" && find . | sort | cpio --quiet -o -H newc -R 0:0) | zstd -q -9 >"$work/out/initrd"
cp "$work/kernel/boot/vmlinuz-$release" "$work/out/kernel"
mkdir -p "$root/lib/modules/$release"
for file in $(modules virtio_console virtio_balloon isofs sr_mod overlay loop vfat button evdev); do
  to=$root/lib/modules/$release/${file##*/lib/modules/"$release"/}
  mkdir -p "${to%/*}"
  cp "$file" "$to"
done
cp "$work/kernel/lib/modules/$release/modules.builtin" "$work/kernel/lib/modules/$release/modules.order" "$root/lib/modules/$release/"
depmod -b "$root" "$release"

# --- the disk -------------------------------------------------------------------------------------------------------------
truncate -s 512M "$work/disk.raw"
mke2fs -q -t ext4 -L "$name" -E lazy_itable_init=0,lazy_journal_init=0,root_owner=0:0 -J size=8 -d "$root" "$work/disk.raw"
qemu-img convert -q -c -O qcow2 -o compat=1.1 "$work/disk.raw" "$work/out/disk1.img"

item() { printf '{"path":"%s","sha256":"%s","size":%s}' "$1" "$(sha256sum "$work/out/$1" | cut -d' ' -f1)" "$(stat -c %s "$work/out/$1")"; }
cat >"$work/out/image.json.new" <<END
{
  "name": "$name",
  "version": "$version",
  "arch": "amd64",
  "os": "Tiny",
  "format": "qcow2",
  "virtualSize": 536870912,
  "seed": "systemd-credentials",
  "user": "lab",
  "disk": $(item disk1.img),
  "boot": {
    "kernel": $(item kernel),
    "initrd": $(item initrd),
    "arguments": "console=ttyS0 quiet panic=-1 tsc=reliable no_timer_check mitigations=off random.trust_cpu=on 8250.nr_uarts=1"
  }
}
END
mv "$work/out/image.json.new" "$work/out/image.json"

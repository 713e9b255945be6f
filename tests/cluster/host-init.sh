#!/usr/bin/env bash
# Process 1 of one host of hosts.sh, in namespaces of its own: gives it a disk, then reaps orphans.
#
# The disk is this machine's / with a layer of memory over it, so the system's packages are there,
# and nothing that a host writes stays. LAB_HIDE is what hosts must not see (the checkout),
# LAB_READ_ONLY what they see at its own path (the virtual environment, its Python); both are
# lists of folders parted by spaces. LAB_HOME_VENV becomes ~/venv of the hosts' user.
set -euo pipefail
if [ "${LAB_HOST_INIT:-}" != 1 ] || [ $$ -ne 1 ]; then
  echo "only hosts.sh runs this, as process 1 of a host" >&2
  exit 2
fi
NAME=$1
HOST_USER=ray
MEMORY=3g  # of a disk and of /dev/shm; only what is used takes memory

hostname "$NAME"
disk=$LAB_STATE/hosts/$NAME.disk
mkdir -p "$disk"
mount -t tmpfs -o size=$MEMORY tmpfs "$disk"
mkdir "$disk/upper" "$disk/work" "$disk/root"
root=$disk/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$disk/upper,workdir=$disk/work" "$root"

for folder in $LAB_HIDE; do mount -t tmpfs tmpfs "$root$folder"; done
mount -t tmpfs -o mode=1777,size=$MEMORY tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=755,size=$MEMORY tmpfs "$root/home"
mount -t tmpfs -o mode=711 tmpfs "$root/root"
for folder in $LAB_READ_ONLY; do  # after what covers it: it may lie below /tmp or /root
  mkdir -p "$root$folder"
  mount --bind "$folder" "$root$folder"
  mount -o remount,ro,bind "$root$folder"
done

mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777,size=$MEMORY tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for stream in 0:stdin 1:stdout 2:stderr; do
  ln -s "/proc/self/fd/${stream%%:*}" "$root/dev/${stream#*:}"
done

key=$(cat "$LAB_STATE/id_ed25519.pub")
cd "$root"
mkdir -p .old
pivot_root . .old
cd /
umount -l /.old
rmdir /.old

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
echo "$NAME" >/etc/hostname
printf "127.0.0.1 localhost\n%s %s\n" "$(hostname -I | cut -d" " -f1)" "$NAME" >/etc/hosts
echo "$HOST_USER ALL=(root) NOPASSWD: /usr/sbin/nft" >"/etc/sudoers.d/$HOST_USER"
id "$HOST_USER" >/dev/null 2>&1 || useradd --no-create-home --shell /bin/bash "$HOST_USER"
usermod -p '*' "$HOST_USER"  # '!' would lock it, and sshd refuses a locked user even by key
home=/home/$HOST_USER
mkdir -p "$home/.ssh"
cp -a /etc/skel/. "$home/"
echo "$key" >"$home/.ssh/authorized_keys"
chmod 700 "$home/.ssh"
chmod 600 "$home/.ssh/authorized_keys"
ln -s "$LAB_HOME_VENV" "$home/venv"
chown -R "$HOST_USER:" "$home"

mkdir -p /run/sshd
rm -f /etc/ssh/ssh_host_*
ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key
cat >/etc/ssh/sshd_config <<EOT
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
PidFile none
MaxSessions 64
MaxStartups 64:30:128
EOT
trap '' HUP
env -i PATH="$PATH" LANG=C.UTF-8 /usr/sbin/sshd -D -e &
while true; do
  wait -n || true
  sleep 0.2
done

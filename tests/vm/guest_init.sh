#!/bin/busybox sh
# First process of the test machine. The root is the host's file tree, read-only over virtiofs; a throw-away ext4 disk
# lies over it. Variables come from the kernel's command line: VM_FOLDER VM_KERNEL VM_SYSTEMD VM_KEEP VM_MASK.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8
busybox=/bin/busybox
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
$busybox mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
/sbin/modprobe -d "$VM_KERNEL" -a virtio_blk virtio_console overlay tun fuse veth bridge nf_tables
$busybox mount -t ext4 /dev/vda /mnt
cd /mnt || exit 1
$busybox mkdir -p upper work root kept
$busybox mkdir -m 1777 tmp
$busybox mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work root root
# A host that is itself a container must not make systemd believe that the machine is one.
$busybox rm -f root/.dockerenv
$busybox mkdir -p root/share root/lib/modules
$busybox mount -o bind "$VM_FOLDER/share" root/share
$busybox mount -o bind "$VM_KERNEL/lib/modules" root/lib/modules
# /tmp and /var/tmp are the ext4 disk itself: an overlay cannot have its upper layer on an overlay.
number=0
for folder in $VM_KEEP; do
  number=$((number + 1)); $busybox mkdir -p kept/$number; $busybox mount -o bind "root$folder" kept/$number
done
$busybox mount -o bind tmp root/tmp
$busybox mount -o bind tmp root/var/tmp
number=0
for folder in $VM_KEEP; do
  number=$((number + 1)); $busybox mkdir -p "root$folder"; $busybox mount -o move kept/$number "root$folder"
done
$busybox mount -t tmpfs -o mode=755 run root/run
$busybox mkdir -p root/run/vm root/run/old
$busybox cp "$VM_FOLDER/command" root/run/vm/command
for folder in proc sys dev; do $busybox mount -o bind /$folder root/$folder; done
cd root || exit 1
$busybox hostname vm
$busybox ip link set lo up
cat >run/vm/main <<'MAIN'
until [ -c /dev/vport*p2 ]; do sleep .02; done
echo UP >/dev/ttyS0
bash /run/vm/command </dev/null >/dev/vport*p1 2>&1
echo $? >/dev/vport*p2
sync
echo o >/proc/sysrq-trigger
sleep 60
MAIN
if [ -n "$VM_SYSTEMD" ]; then
  # sd_booted(3): the folder's being there means that systemd is pid 1.
  $busybox mkdir -p run/systemd/system
  for unit in $VM_MASK; do $busybox ln -s /dev/null "run/systemd/system/$unit"; done
  {
    echo '[Unit]'
    echo 'After=basic.target dbus.service'
    echo 'Requires=basic.target'
    echo 'Wants=dbus.service'
    echo '[Service]'
    echo "Environment=HOME=/root PATH=$PATH"
    echo 'ExecStart=/bin/bash /run/vm/main'
  } >run/systemd/system/vm.service
  set -- /lib/systemd/systemd --unit=vm.service
else
  $busybox mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 sys/fs/cgroup
  $busybox mkdir -p dev/pts dev/shm
  $busybox mount -t devpts -o ptmxmode=666,mode=620,gid=5 pts dev/pts
  $busybox mount -t tmpfs shm dev/shm
  $busybox ln -s /proc/self/fd dev/fd
  set -- /bin/bash /run/vm/main
fi
$busybox pivot_root . run/old
exec $busybox chroot . /bin/busybox sh -c '/bin/busybox umount -l /run/old; exec "$@"' - "$@"

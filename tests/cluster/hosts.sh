#!/usr/bin/env bash
# A handful of machines on one kernel, for testing `ray up` for real: each has its own network,
# processes, host name, /tmp, /home, /root, /run, /dev/shm and sshd (host-init.sh).
#
#   hosts.sh up              the two networks, the laptop and the outsider; then
#   hosts.sh boot NAME ID    one more host, 10.99.0.ID in the cluster's network, 10.98.0.ID outside
#   hosts.sh scrap NAME      take it away, disk and all
#   hosts.sh link NAME up|down     plug in or pull its cable to the cluster's network
#   hosts.sh enter NAME CMD...     run CMD in a host as root, not over ssh
#   hosts.sh laptop|outsider CMD...      run CMD in that network, on this machine's files
#   hosts.sh down            end all that was started
#
# No route leaves the two networks, and nothing of this machine's own network is touched. So two
# runs may use the same addresses; LAB_STATE, a folder of the run's own, tells them apart.
set -euo pipefail
HERE=$(cd "$(dirname "$0")" && pwd)
STATE=${LAB_STATE:?the folder of this run}
LAB=fer-$(printf %s "$STATE" | md5sum | cut -c1-8)
CLUSTER_NET=10.99.0
OUTER_NET=10.98.0

# plug NAMESPACE SWITCH INTERFACE ADDRESS
plug() {
  local port="$3-${1#"$LAB"-}"
  ip link add "$port" netns "$LAB-switch" type veth peer name "$3" netns "$1"
  ip -n "$LAB-switch" link set "$port" master "$2" up
  ip -n "$1" addr add "$4/24" dev "$3"
  ip -n "$1" link set "$3" up
}

network() {
  ip netns add "$LAB-$1"
  ip -n "$LAB-$1" link set lo up
}

up() {
  mkdir -p "$STATE/hosts"
  ssh-keygen -q -t ed25519 -N '' -C fer-search-test -f "$STATE/id_ed25519"
  network switch
  ip -n "$LAB-switch" link add cluster type bridge
  ip -n "$LAB-switch" link add outer type bridge
  ip -n "$LAB-switch" link set cluster up
  ip -n "$LAB-switch" link set outer up
  network laptop
  plug "$LAB-laptop" cluster eth0 $CLUSTER_NET.1
  network outsider
  plug "$LAB-outsider" outer eth1 $OUTER_NET.1
}

boot() {
  local name=$1 id=$2 pid
  network "$name"
  plug "$LAB-$name" cluster eth0 "$CLUSTER_NET.$id"
  plug "$LAB-$name" outer eth1 "$OUTER_NET.$id"
  LAB_HOST_INIT=1 setsid ip netns exec "$LAB-$name" \
    unshare --mount --pid --uts --ipc --fork --propagation private \
    bash "$HERE/host-init.sh" "$name" >"$STATE/hosts/$name.log" 2>&1 </dev/null &
  local outer=$!  # `unshare`; its only child is the host's process 1
  for _ in $(seq 100); do
    pid=$(tr -d ' ' <"/proc/$outer/task/$outer/children" 2>/dev/null || true)
    if [ -n "$pid" ]; then break; fi
    sleep 0.05
  done
  echo "$pid" >"$STATE/hosts/$name.pid"
  for _ in $(seq 600); do
    if ip netns exec "$LAB-laptop" timeout 1 \
      bash -c "exec 3<>/dev/tcp/$CLUSTER_NET.$id/22" 2>/dev/null; then return 0; fi
    sleep 0.05
  done
  echo "host $name did not answer on port 22 within 30 s:" >&2
  cat "$STATE/hosts/$name.log" >&2
  return 1
}

# The kernel ends all processes of a host with its process 1.
scrap() {
  local pid
  pid=$(cat "$STATE/hosts/$1.pid" 2>/dev/null || true)
  if [ -n "$pid" ]; then kill -9 "$pid" 2>/dev/null || true; fi
  for _ in $(seq 100); do
    if [ ! -d "/proc/${pid:-none}" ]; then break; fi
    sleep 0.05
  done
  ip netns del "$LAB-$1" 2>/dev/null || true
  rm -f "$STATE/hosts/$1.pid"
}

down() {
  local file
  for file in "$STATE"/hosts/*.pid; do
    if [ -e "$file" ]; then scrap "$(basename "$file" .pid)"; fi
  done
  for name in laptop outsider switch; do ip netns del "$LAB-$name" 2>/dev/null || true; done
}

command=${1:-}
shift || true
case $command in
  up | boot | scrap | down) "$command" "$@" ;;
  link) ip -n "$LAB-switch" link set "eth0-$1" "$2" ;;
  laptop | outsider) exec ip netns exec "$LAB-$command" "$@" ;;
  enter)
    pid=$(cat "$STATE/hosts/$1.pid")
    shift
    exec nsenter -t "$pid" --mount --pid --uts --ipc --net --root --wd "$@" ;;
  *)
    sed -n '2,16p' "$0" >&2
    exit 2 ;;
esac

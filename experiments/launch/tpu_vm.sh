#!/usr/bin/env bash
# Trains on a slice of Cloud TPU VMs: asks for it, waits, installs the commit of this checkout on every host and starts
# `ichformer train` there. A slice that is pre-empted is asked for anew, and the training goes on. At the end, whatever
# the end is, the slice is deleted. Start it where it can go on for days (tmux on a small VM).
#
#   ZONE=us-east5-a SHARE=10.0.0.2:/ichformer experiments/launch/tpu_vm.sh base \
#     --data.store /mnt/share/store --model.name slice_vit_b --out /mnt/share/runs/base
#
# The first word names the slice, the others are those of `ichformer train`. From the environment:
#   ZONE         where the slice is
#   SHARE        an NFS share (Filestore) for store and runs; every host mounts it at /mnt/share
#   ACCELERATOR  v5p-32 by default; the 32 are cores: 16 chips on 4 hosts
#   RUNTIME      image of the VMs, v2-alpha-tpuv5 by default, which is that of v5p
#   SPOT         "no" for a slice that is not pre-empted and costs more
#   PAUSE_S      seconds between two looks at the queue, 30 by default
set -euo pipefail

name=${1:?a name for the slice, then the arguments of ichformer train}
shift
: "${ZONE:?the zone of the slice, such as us-east5-a}"
: "${SHARE:?an NFS share for store and runs, such as 10.0.0.2:/ichformer}"
pause_s=${PAUSE_S:-30}
tier=(--spot)
if [[ ${SPOT:-yes} == no ]]; then tier=(); fi

say() { echo "tpu_vm.sh: $*" >&2; }

requests() { gcloud compute tpus queued-resources "$1" "$name" --zone="$ZONE" --quiet "${@:2}"; }

state() { # of the request; nothing where there is none
  gcloud compute tpus queued-resources list --zone="$ZONE" --filter="name~/$name\$" --format='value(state.state)' ||
    echo UNKNOWN
}

leave() {
  if [[ -n $(state) ]]; then
    say "deleting $name"
    requests delete --force
  fi
}

on_all_hosts() { gcloud compute tpus tpu-vm ssh "$name" --zone="$ZONE" --worker=all --quiet --command="$1"; }

obtain() { # returns when the slice is there
  local now
  while now=$(state) && [[ $now != ACTIVE ]]; do
    case $now in
      '')
        say "asking for $name"
        requests create --node-id="$name" --accelerator-type="${ACCELERATOR:-v5p-32}" \
          --runtime-version="${RUNTIME:-v2-alpha-tpuv5}" "${tier[@]}"
        ;;
      SUSPENDED)
        say "$name was pre-empted"
        requests delete --force
        ;;
      FAILED)
        requests describe >&2
        exit 1
        ;;
      *) sleep "$pause_s" ;;
    esac
  done
}

# The hosts come with Python 3.10; uv brings a newer one. What a start before this one left holds the chips: it is told
# to save and end.
install=$(
  cat <<END
set -eu
if ! mountpoint -q /mnt/share; then
  sudo apt-get -qq -o DPkg::Lock::Timeout=300 update
  sudo apt-get -qq -o DPkg::Lock::Timeout=300 install -y nfs-common >/dev/null
  sudo mkdir -p /mnt/share
  sudo mount -t nfs ${SHARE@Q} /mnt/share
fi
timeout 60 sh -c 'while pkill -x ichformer; do sleep 2; done' || pkill -KILL -x ichformer || true
python3 -m pip install -q --user uv
test -d ~/ichformer || ~/.local/bin/uv venv -q --python 3.12 ~/ichformer
~/.local/bin/uv pip install -q --python ~/ichformer/bin/python --reinstall-package ichformer \\
  'ichformer[tpu] @ file:///tmp/ichformer.tar.gz'
END
)

# A training that was told to stop ends in order, with 0, and without the line that says what it came to.
train="said=\$(mktemp); \$HOME/ichformer/bin/ichformer train ${*@Q} >\$said; code=\$?; cat \$said
if [ \$code = 0 ] && ! [ -s \$said ]; then code=75; fi; exit \$code"

folder=$(mktemp -d)
git -C "$(git -C "$(dirname "$0")" rev-parse --show-toplevel)" archive --prefix=ichformer/ -o "$folder/ichformer.tar.gz" HEAD
trap leave EXIT
failures=0
while true; do
  obtain
  code=0
  {
    gcloud compute tpus tpu-vm scp "$folder/ichformer.tar.gz" "$name:/tmp/" --zone="$ZONE" --worker=all --quiet &&
      on_all_hosts "$install" && on_all_hosts "$train"
  } || code=$?
  case $code in 0 | 2) exit "$code" ;; esac # done, or bad input
  sleep "$pause_s"
  if [[ $(state) != ACTIVE ]]; then
    failures=0
  elif ((++failures == 5)); then
    say "five failures in a row on a slice that is there"
    exit 1
  fi
done

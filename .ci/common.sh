# shellcheck shell=bash disable=SC2034
# What .ci/run and .ci/full have in common. They source it, standing in the root of the checkout.
set -euo pipefail
unset PYTHONDONTWRITEBYTECODE # with it each of hundreds of processes would compile the package anew
export PYTHONPATH=$PWD        # this checkout is what is tested, whichever one an environment was made from
python=${PYTHON:-python3} # of the scripts that source this

done_with() { printf '%s: %s, after %d min %d s\n' "$0" "$1" $((SECONDS / 60)) $((SECONDS % 60)); }

# Programs that single tests need. Without root these tests are skipped, and say so.
apt_install() {
  if ! { [ "$(id -u)" = 0 ] && apt-get update -qq && apt-get install -y -qq "$@" >/dev/null; }; then
    echo "$0: $* cannot be installed here: THE TESTS THAT NEED IT ARE SKIPPED" >&2
  fi
}
install_chromium() { command -v chromium >/dev/null || apt_install chromium; }
install_dicom3tools() { command -v dciodvfy >/dev/null || apt_install dicom3tools; }
install_orthanc() {
  [ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || apt_install orthanc orthanc-dicomweb dcmtk
}
axe=${XDG_CACHE_HOME:-$HOME/.cache}/ichformer-ci/axe # outside the checkout: it is no part of the package
install_axe() {
  [ -e "$axe/node_modules/axe-core/axe.min.js" ] && return
  command -v npm >/dev/null || apt_install npm
  npm install --silent --no-audit --no-fund --prefix "$axe" axe-core@4 >/dev/null ||
    echo "$0: axe-core cannot be installed here: THE TEST THAT NEEDS IT IS SKIPPED" >&2
}
install_slurm() { { command -v slurmctld && command -v munged; } >/dev/null || apt_install slurm-wlm munge; }

# Installs as the README says, step by step: the first command has to work without what only tests need.
install_package() {
  pip install -q --disable-pip-version-check -e .
  ichformer --help >/dev/null
  pip install -q --disable-pip-version-check -e '.[test]'
  pip install -q --disable-pip-version-check -e '.[dev,imagenet]'
}

check_style() {
  ruff format --check . &&
    ruff check . &&
    mypy &&
    codespell &&
    { interrogate -q ichformer || { interrogate -vv ichformer | grep MISSED && false; }; } &&
    shellcheck .ci/common.sh .ci/run .ci/full experiments/launch/*.sh experiments/launch/*.sbatch
}

# Runs `pytest` with the arguments given, lint and types beside it. Both speak, and both have to succeed.
test_and_check_style() {
  local said tests=0 style=0
  said=$(mktemp)
  check_style >"$said" 2>&1 &
  local checking=$!
  pytest "$@" || tests=$?
  wait "$checking" || style=$?
  echo "Lint and types:"
  cat "$said"
  rm "$said"
  [ "$tests" = 0 ] && [ "$style" = 0 ]
}

#!/bin/sh
# What deploy/README.md tells an operator to type, in a Debian that has just booted.
set -eux
trap 'code=$?; journalctl --no-pager -u "weightgate*" | tail -40; echo "recipe ended with $code"; systemctl poweroff' EXIT
cd /src
deploy/systemd/install
"$PYTHON" -m venv /opt/weightgate
/opt/weightgate/bin/pip install --quiet '.[server,client]'
PATH=/opt/weightgate/bin:$PATH
export PATH
as() { runuser -u weightgate -- "$@"; }
main_process() { systemctl show --property MainPID --value "$1"; }
until_healthy() {
  for _ in $(seq 600); do
    case $1 in
      server) SIDE=server deploy/container/health && return ;;
      client) as wg-client status --probe --home $plant && return ;;
    esac
    sleep 1
  done
  return 1
}

# The server, and its backups.
server=/var/lib/weightgate/server
as wg-server init --home $server --host 127.0.0.1 --port 0
as wg-server zoo build --home $server --plan quick
systemctl enable --now weightgate-server.service
until_healthy server
work=$(mktemp -d)
age-keygen -o "$work/age.txt"
printf 'RECIPIENT=%s\n' "$(age-keygen -y "$work/age.txt")" > /etc/weightgate/backup.env
systemctl enable --now weightgate-server-backup.timer
systemctl start weightgate-server-backup.service
test "$(find /var/backups/weightgate -name 'server-*' | wc -l)" = 1

# A plant.
plant=/var/lib/weightgate/plant
as wg-server enroll --home $server --json steel-3 > "$work/enrolled"
said() { python -c "import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])" "$work/enrolled" "$1"; }
said token | as wg-client init --home $plant --join - --encoder "$(said encoder)" --data /srv/plant-data
systemctl enable --now weightgate-client.service
until_healthy client

# Killed, they come back.
for unit in weightgate-server weightgate-client; do
  test "$(systemctl show --property User --value $unit)" = weightgate
  first=$(main_process $unit)
  kill -KILL "$first"
  until second=$(main_process $unit) && [ "$second" != 0 ] && [ "$second" != "$first" ]; do sleep 1; done
  until_healthy ${unit#weightgate-}
done

# Told to stop, they stay down, and say nothing of a failure.
for unit in weightgate-client weightgate-server; do
  systemctl stop $unit
  test "$(systemctl show --property Result --value $unit)" = success
done
as wg-server sites --home $server

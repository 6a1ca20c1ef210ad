#!/bin/sh
# PostgreSQL's archive: base backups in base/, and the log since in wal/, from which the database is restored as it was
# at any moment after the oldest base backup.
#
#   archive.sh start COMMAND...   makes the folders, then becomes the server
#   archive.sh wal PATH NAME      keeps a finished piece of the log: the server's archive_command
#   archive.sh base               makes a base backup, and deletes those beyond the newest ARCHIVE_KEEP with their log
#   archive.sh restore [TIME]     fills PGDATA, so that the server's next start recovers to TIME, such as
#                                 "2026-01-31 12:00:00+00", or to the archive's end
set -eu
ARCHIVE=${ARCHIVE:-/archive}

refuse() {
  echo "archive.sh: $1" >&2
  exit 1
}

start() {
  for folder in "$ARCHIVE" "$ARCHIVE/wal" "$ARCHIVE/base"; do
    install -d -m 700 -o postgres -g postgres "$folder"
  done
  exec docker-entrypoint.sh "$@"
}

wal() {
  kept=$ARCHIVE/wal/$2.gz
  # A piece is never replaced by another; the server may send one again whose end it has not seen.
  if [ -e "$kept" ]; then
    gunzip -c "$kept" | cmp -s - "$1" || refuse "$kept differs from $1; is it another database's archive?"
  else
    gzip -c "$1" >"$kept.new"
    sync "$kept.new"
    mv "$kept.new" "$kept"
  fi
  # Whoever copies what is new since a moment sees it only now. The server deletes its own: name and time must last.
  touch "$kept"
  sync "$kept" "$ARCHIVE/wal"
}

base() {
  name=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  [ ! -e "$ARCHIVE/base/$name" ] || refuse "$ARCHIVE/base/$name was made in this second"
  rm -rf "$ARCHIVE/base/.new"
  # Without the log of its own time, which the server archives before the backup counts as made.
  pg_basebackup -h 127.0.0.1 -U engine -w -D "$ARCHIVE/base/.new" -F tar -z -X none -c fast
  sync "$ARCHIVE/base/.new/base.tar.gz"
  mv "$ARCHIVE/base/.new" "$ARCHIVE/base/$name"
  # Whoever copies what is new since a moment sees it only now.
  touch "$ARCHIVE/base/$name"/*
  ls "$ARCHIVE/base" | sort -r | tail -n +"$((${ARCHIVE_KEEP:-7} + 1))" | while read -r old; do rm -rf "$ARCHIVE/base/$old"; done
  oldest=$(ls "$ARCHIVE/base" | sort | head -n 1)
  first=$(tar -xzOf "$ARCHIVE/base/$oldest/base.tar.gz" backup_label | sed -n 's/^START WAL LOCATION: .*(file \(.*\))$/\1/p')
  pg_archivecleanup -x .gz "$ARCHIVE/wal" "$first"
  echo "base backup $name; the archive begins with $oldest"
}

restore() {
  [ -z "$(ls -A "$PGDATA" 2>/dev/null)" ] || refuse "$PGDATA is not empty: move what is in it away first"
  # The newest base backup that was made before TIME.
  found=
  for name in $(ls "$ARCHIVE/base" | sort); do
    if [ -z "${1:-}" ] || [ "$(date -d "$name" +%s)" -lt "$(date -d "$1" +%s)" ]; then found=$name; fi
  done
  [ -n "$found" ] || refuse "no base backup in $ARCHIVE/base is older than ${1:-now}"
  mkdir -p -m 700 "$PGDATA"
  tar -xzf "$ARCHIVE/base/$found/base.tar.gz" -C "$PGDATA"
  {
    echo "restore_command = 'gunzip -c \"$ARCHIVE/wal/%f.gz\" >\"%p\"'"
    echo "recovery_target_action = 'promote'"
    [ -z "${1:-}" ] || echo "recovery_target_time = '$1'"
  } >>"$PGDATA/postgresql.auto.conf"
  touch "$PGDATA/recovery.signal"
  [ "$(id -u)" != 0 ] || chown -R postgres:postgres "$PGDATA"
  echo "restored the base backup $found; the server's next start recovers to ${1:-the archive\'s end}"
}

act=${1:-}
[ $# = 0 ] || shift
case "$act" in
  start | wal | base | restore) "$act" "$@" ;;
  *) refuse "start, wal, base or restore" ;;
esac

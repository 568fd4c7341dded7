{#- How the guestbook is built and brought up with its entries in PostgreSQL. The server lets the
    application's account in by its name (peer authentication over the Unix socket): there is no
    password that could be in a file, an argument or a log. -#}

{% macro gather_variables(common) %}
{%- do common.update({
  'venv': common.paths.run ~ '/venv',
  'environment_file': common.paths.run ~ '/guestbook.env',
  'unit': common.paths.run ~ '/systemd/' ~ common.name ~ '.service',
  'database': common.name,
  'database_url': 'postgresql:///' ~ common.name ~ '?host=/run/postgresql',
}) %}
{%- endmacro %}

{% macro pre_install(common) %}
{#- Decided while rendering: only the first push installs the server. -#}
{%- if not salt['file.file_exists']('/usr/bin/pg_lsclusters') %}
server:
  pkg.installed:
    - pkgs: [postgresql]
    - install_recommends: False
    - refresh: True
    - require_in:
      - cmd: database
{%- endif %}

database:
  cmd.run:
    - name: |
        runuser -u postgres -- psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
          --set=role="$ROLE" --set=database="$DATABASE" <<'END'
        SELECT format('CREATE ROLE %I LOGIN', :'role')
          WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
        SELECT format('CREATE DATABASE %I OWNER %I', :'database', :'role')
          WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database') \gexec
        END
    - unless: runuser -u "$ROLE" -- psql --no-psqlrc --quiet --command='' "$DATABASE"
    - cwd: /
    - env: {{ environment(common) }}
{%- endmacro %}

{% macro build(common) %}
{%- if common.paths.run != common.paths.project %}
code:
  cmd.run:
    - name: cp -a --reflink=auto guestbook migrations manage.py requirements.txt {{ common.paths.run }}
    - cwd: {{ common.paths.project | json }}
    - require_in:
      - project_venv: venv
{%- endif %}

venv:
  project_venv.installed:
    - name: {{ common.venv | json }}
    - requirements: {{ (common.paths.run ~ '/requirements.txt') | json }}
    - cache: {{ (common.paths.build ~ '/cache') | json }}
{%- endmacro %}

{% macro post_build(common) %}
environment:
  file.managed:
    - name: {{ common.environment_file | json }}
    - mode: '0600'
    - show_changes: False
    - contents:
      - {{ ('GUESTBOOK_SECRET_KEY=' ~ quoted(common.data.secret_key)) | json }}
      - {{ ('GUESTBOOK_TITLE=' ~ quoted(common.data.title)) | json }}
      - {{ ('DATABASE_URL=' ~ quoted(common.database_url)) | json }}

unit:
  file.managed:
    - name: {{ common.unit | json }}
    - makedirs: True
    - show_changes: False
    - contents: {{ service(common) | json }}
{%- endmacro %}

{% macro post_install(common) %}
migrate:
  cmd.run:
    - name: >-
        setpriv --reuid={{ common.user }} --regid={{ common.group }} --init-groups
        {{ common.venv }}/bin/python -B manage.py migrate
    - cwd: {{ common.paths.run | json }}
    - env:
      - DATABASE_URL: {{ common.database_url | json }}
{%- endmacro %}

{#- dumps/ is root's: the shell, which is root, opens the file, and the server's account, which
    pg_dump runs as, only writes to it. -#}
{% macro backup(common) %}
dump:
  cmd.run:
    - name: runuser -u postgres -- pg_dump --format=custom --dbname="$DATABASE" > "$DUMP"
    - cwd: /
    - env: {{ environment(common) }}
{%- endmacro %}

{#- Reload exactly: the dump goes into a new database, which takes the place of the old one only
    when it is whole. All of it may be cut off and begin anew. After a reboot the server may not be
    up yet. -#}
{% macro restore(common) %}
reload:
  cmd.run:
    - name: |
        set -eu
        systemctl start postgresql
        new="$DATABASE.restoring"
        runuser -u postgres -- dropdb --if-exists --force "$new"
        runuser -u postgres -- createdb --template=template0 --owner="$ROLE" "$new"
        runuser -u postgres -- pg_restore --exit-on-error --single-transaction --dbname="$new" < "$DUMP"
        runuser -u postgres -- dropdb --if-exists --force "$DATABASE"
        runuser -u postgres -- psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
          --set=new="$new" --set=database="$DATABASE" <<'END'
        ALTER DATABASE :"new" RENAME TO :"database";
        END
    - cwd: /
    - env: {{ environment(common) }}
{%- endmacro %}

{#- Not a phase: the names that the commands use, so that no shell reads them as anything else. -#}
{% macro environment(common) -%}
{{ [{'ROLE': common.user}, {'DATABASE': common.database}, {'DUMP': common.paths.dumps ~ '/database'}] | json }}
{%- endmacro %}

{#- Not a phase: a value as systemd reads it in an environment file. -#}
{% macro quoted(value) -%}
"{{ value | string | replace('\\', '\\\\') | replace('"', '\\"') }}"
{%- endmacro %}

{#- Not a phase: the text of the systemd unit. The platform has drained the connections before it
    stops the service, so gunicorn need not wait long: a worker that is told to end while it is
    still starting misses the signal, and the stop lasts as long as this time. -#}
{% macro service(common) -%}
[Unit]
Description=Guestbook of the project {{ common.name }}
Wants=postgresql.service
After=network.target postgresql.service

[Service]
Type=notify
User={{ common.user }}
Group={{ common.group }}
WorkingDirectory={{ common.paths.run }}
EnvironmentFile={{ common.environment_file }}
Environment=PYTHONDONTWRITEBYTECODE=1
ExecStart={{ common.venv }}/bin/gunicorn --preload --workers 1 --threads {{ common.data.threads }} --bind 0.0.0.0:{{ common.data.port }} --graceful-timeout 2 --keep-alive 2 --worker-tmp-dir /dev/shm --no-control-socket guestbook.web:app
KillMode=mixed
TimeoutStopSec=5
Restart=on-failure
RestartSec=1
UMask=0027
NoNewPrivileges=yes
CapabilityBoundingSet=
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
SystemCallArchitectures=native
PrivateTmp=yes
ProtectHome=yes
ProtectSystem=strict
ReadWritePaths={{ common.paths.data }}

[Install]
WantedBy=multi-user.target
{%- endmacro %}

{#- How the guestbook is built and brought up. Each macro is a phase; values that come from
    outside go through the json filter, so that none of them can be read as YAML. -#}

{% macro gather_variables(common) %}
{%- do common.update({
  'venv': common.paths.run ~ '/venv',
  'environment_file': common.paths.run ~ '/guestbook.env',
  'unit': common.paths.run ~ '/systemd/' ~ common.name ~ '.service',
}) %}
{%- endmacro %}

{% macro pre_install(common) %}
{#- Decided while rendering: a push to a project that is in order pays for no state here. -#}
{%- if salt['file.get_user'](common.paths.data) != common.user %}
data:
  file.directory:
    - name: {{ common.paths.data | json }}
    - user: {{ common.user | json }}
    - group: {{ common.group | json }}
    - mode: '0750'
{%- endif %}
{%- endmacro %}

{#- Also in production, where nothing is built: a release made in staging gets the settings of the
    environment that it runs in. -#}
{% macro configure(common) %}
environment:
  file.managed:
    - name: {{ common.environment_file | json }}
    - mode: '0600'
    - show_changes: False
    - contents:
      - {{ ('GUESTBOOK_SECRET_KEY=' ~ quoted(common.data.secret_key)) | json }}
      - {{ ('GUESTBOOK_TITLE=' ~ quoted(common.data.title)) | json }}
      - {{ ('GUESTBOOK_DATABASE=' ~ quoted(common.paths.data ~ '/guestbook.sqlite3')) | json }}
{%- endmacro %}

{% macro build(common) %}
{%- if common.mode != 'editable' %}
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
      - GUESTBOOK_DATABASE: {{ (common.paths.data ~ '/guestbook.sqlite3') | json }}
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
After=network.target

[Service]
Type=notify
User={{ common.user }}
Group={{ common.group }}
WorkingDirectory={{ common.paths.run }}
EnvironmentFile={{ common.environment_file }}
Environment=PYTHONDONTWRITEBYTECODE=1{{ ' FLASK_DEBUG=1' if common.mode == 'editable' }}
ExecStart={{ common.venv }}/bin/gunicorn {{ '--reload' if common.mode == 'editable' else '--preload' }} --workers 1 --threads {{ common.data.threads }} --bind 0.0.0.0:{{ common.data.port }} --graceful-timeout 2 --keep-alive 2 --worker-tmp-dir /dev/shm --no-control-socket guestbook.web:app
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

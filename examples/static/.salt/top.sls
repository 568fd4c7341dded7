{#- A static site: nginx is set up once, after that a push costs one state. -#}

{% macro gather_variables(common) %}
{%- do common.update({'site': '/etc/nginx/sites-enabled/' ~ common.name}) %}
{%- endmacro %}

{% macro pre_install(common) %}
{#- Decided while rendering: asking apt or nginx at each push would take longer than the push. -#}
{%- set wanted = nginx_site(common) ~ '\n' %}
{%- if not salt['file.file_exists'](common.site) or salt['file.read'](common.site) != wanted %}
nginx:
  pkg.installed:
    - name: nginx-light
    - refresh: True
    - install_recommends: False

default site:
  file.absent:
    - name: /etc/nginx/sites-enabled/default
    - require:
      - pkg: nginx

site:
  file.managed:
    - name: {{ common.site | json }}
    - contents: {{ wanted | json }}
    - require:
      - pkg: nginx

nginx runs:
  service.running:
    - name: nginx
    - enable: True
    - reload: True
    - watch:
      - file: default site
      - file: site
{%- endif %}
{%- endmacro %}

{% macro build(common) %}
{%- if common.paths.run != common.paths.project %}
site files:
  cmd.run:
    - name: cp -a --reflink=auto public {{ common.paths.run }}
    - cwd: {{ common.paths.project | json }}
{%- endif %}
{%- endmacro %}

{#- Not a phase: the site's text. The path is looked up at each request, so that the swap of
    run/ is seen at once; nothing is cached across it. -#}
{% macro nginx_site(common) -%}
server {
    listen {{ common.data.port }} default_server;
    listen [::]:{{ common.data.port }} default_server;
    server_name _;
    root {{ common.paths.run }}/public;
    index index.html;
    etag on;
    location / {
        try_files $uri $uri/ =404;
    }
}
{%- endmacro %}

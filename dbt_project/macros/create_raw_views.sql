{#
    Fills the source schema `raw`: one view per declared table over the immutable Parquet parts of one
    published raw version, batches of later days left out. A table that was never delivered becomes an
    empty view with the declared types. This is the only place that knows where raw data lies, and that
    and the clock the only one that knows the target day: no model's SQL depends on either.

    WAREHOUSE_RAW_VERSION and WAREHOUSE_TARGET_DAY pin both; the defaults are the current raw version
    and its newest batch day.
#}
{% macro create_raw_views() %}
    {% if not execute %}{{ return('') }}{% endif %}

    {% set store = raw_store_folder() %}
    {% set version = env_var('WAREHOUSE_RAW_VERSION', '') or current_raw_version(store) %}
    {% set parts = raw_parts(store, version) %}
    {% set target_day = env_var('WAREHOUSE_TARGET_DAY', '') or newest_batch_day(store, parts) %}

    {% do run_query('create schema if not exists raw') %}
    {% do run_query(
        "create or replace view raw.clock as select date '" ~ target_day ~ "' as target_day, '"
        ~ env_var('SHOPWRIGHT_TIMEZONE', 'America/New_York') ~ "' as timezone"
    ) %}
    {% for source in graph.sources.values() if source.schema == 'raw' and source.name != 'clock' %}
        {% do run_query(raw_view(store, source, parts, target_day)) %}
    {% endfor %}
    {% do log('raw ' ~ version ~ ' up to ' ~ target_day, info=true) %}
{% endmacro %}


{% macro raw_store_folder() %}
    {% set state = env_var('SHOPWRIGHT_STATE_DIR', 'var') %}
    {% set state = state if state.startswith('/') else '../' ~ state %}
    {{ return(state ~ '/' ~ env_var('SHOPWRIGHT_SHOP_ID', 'completejourney') ~ '/raw') }}
{% endmacro %}


{% macro current_raw_version(store) %}
    {% set pointer = store ~ '/CURRENT' %}
    {% if run_query("select 1 from glob('" ~ pointer ~ "')").rows | length == 0 %}
        {{ exceptions.raise_compiler_error('no raw data published at ' ~ store ~ '; run `shopwright ingest` first') }}
    {% endif %}
    {{ return(run_query("select version from read_json('" ~ pointer ~ "')").rows[0][0]) }}
{% endmacro %}


{# Rows (table, partition, file) of a raw version's manifest. #}
{% macro raw_parts(store, version) %}
    {% set query %}
        select part."table", part.partition, '{{ store }}/parts/' || part.sha256 || '.parquet'
        from (select unnest(parts) as part from read_json('{{ store }}/versions/{{ version }}.json'))
        order by 1, 2
    {% endset %}
    {{ return(run_query(query).rows) }}
{% endmacro %}


{% macro newest_batch_day(store, parts) %}
    {% set days = [] %}
    {% for part in parts if part[0] not in ('batches', 'set_aside_order_lines') %}
        {% do days.append(part[1][:10]) %}
    {% endfor %}
    {{ return(days | max) }}
{% endmacro %}


{% macro raw_view(store, source, parts, target_day) %}
    {# A batch id starts with the batch's day. The two bookkeeping tables are cut by their own column. #}
    {% set is_bookkeeping = source.name in ('batches', 'set_aside_order_lines') %}
    {% set files = [] %}
    {% for part in parts if part[0] == source.name and (is_bookkeeping or part[1][:10] <= target_day) %}
        {% do files.append("'" ~ part[2] ~ "'") %}
    {% endfor %}
    create or replace view raw.{{ source.name }} as
    {% if files %}
        select {{ source.columns.values() | map(attribute='name') | join(', ') }}
        from read_parquet([{{ files | join(', ') }}], union_by_name = true)
        {% if is_bookkeeping %}
            where {{ 'batch_date' if source.name == 'batches' else '_batch_date' }} <= date '{{ target_day }}'
        {% endif %}
    {% else %}
        select
            {% for column in source.columns.values() %}
                cast(null as {{ column.data_type }}) as {{ column.name }}{{ ',' if not loop.last }}
            {% endfor %}
        where false
    {% endif %}
{% endmacro %}

{#
    Fills the source schema `raw`: one view per declared table over the immutable Parquet parts of one
    published raw version, batches of later days left out. A table that was never delivered becomes an
    empty view with the declared types. This is the only place that knows where raw data lies, and that
    and the clock the only one that knows the target day: no model's SQL depends on either.

    WAREHOUSE_RAW_VERSION and WAREHOUSE_TARGET_DAY pin both; the defaults are the current raw version
    and its newest batch day.
#}
{% macro create_raw_views(parts, target_day) %}
    {% do run_query('create schema if not exists raw') %}
    {% do run_query(
        "create or replace view raw.clock as select date '" ~ target_day ~ "' as target_day, '"
        ~ env_var('SHOPWRIGHT_TIMEZONE', 'America/New_York') ~ "' as timezone"
    ) %}
    {% for source in graph.sources.values() if source.schema == 'raw' and source.name != 'clock' %}
        {% do run_query(raw_view(source, parts, target_day)) %}
    {% endfor %}
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
        select
            part."table",
            part.partition,
            '{{ store }}/parts/' || part.sha256 || '.parquet' as file
        from (select unnest(parts) as part from read_json('{{ store }}/versions/{{ version }}.json'))
        order by 1, 2
    {% endset %}
    {{ return(run_query(query).rows) }}
{% endmacro %}


{% macro newest_batch_day(store, parts) %}
    {% if parts | length == 0 %}
        {{ exceptions.raise_compiler_error('the raw version at ' ~ store ~ ' holds no batch') }}
    {% endif %}
    {{ return(parts | map(attribute='partition') | map('truncate', 10, true, '', 0) | max) }}
{% endmacro %}


{% macro raw_view(source, parts, target_day) %}
    {# Every part is named for its batch, and a batch id begins with the batch's last day. #}
    {% set files = [] %}
    {% for part in parts if part['table'] == source.name and part['partition'][:10] <= target_day %}
        {% do files.append("'" ~ part['file'] ~ "'") %}
    {% endfor %}
    create or replace view raw.{{ source.name }} as
    {% if files %}
        {# The empty relation beside them supplies, as nulls, the columns that older parts lack. #}
        select {{ source.columns.values() | map(attribute='name') | join(', ') }}
        from (
            select * from read_parquet([{{ files | join(', ') }}], union_by_name = true)
            union all by name
            {{ empty_relation(source) }}
        )
    {% else %}
        {{ empty_relation(source) }}
    {% endif %}
{% endmacro %}


{% macro empty_relation(source) %}
    select
        {% for column in source.columns.values() %}
            cast(null as {{ column.data_type }}) as {{ column.name }}{{ ',' if not loop.last }}
        {% endfor %}
    where false
{% endmacro %}

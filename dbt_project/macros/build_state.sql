{#
    What the database holds, so that a build does only what new batches ask for.

    `build_state.state` says which raw parts (`build_state.parts`) the tables were built from, up to which day, and by
    which code. A whole build whose raw parts and target day extend those, by the same code, is incremental; every other
    one starts from nothing. The state reads "absorbing" from before the first change until everything is built, so
    that what a failed or killed build left is never built upon.

    Plain `dbt build` and the platform share all of this; `dbt build --full-refresh` starts from nothing.
#}
{% macro begin_build() %}
    {% if not execute %}{{ return('') }}{% endif %}

    {% set store = raw_store_folder() %}
    {% set version = env_var('WAREHOUSE_RAW_VERSION', '') or current_raw_version(store) %}
    {% set parts = raw_parts(store, version) %}
    {% set target_day = env_var('WAREHOUSE_TARGET_DAY', '') or newest_batch_day(store, parts) %}
    {% do run_query('create schema if not exists build_state') %}
    {% do run_query(selected_parts(store, version, target_day)) %}

    {% set models = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | list %}
    {% set chosen = models | selectattr('unique_id', 'in', selected_resources) | list %}
    {% set digest = code_digest(models) %}
    {% set built = state_built_upon(digest, target_day) if all_exist(models) else none %}
    {% set is_whole = chosen | length == models | length %}

    {% if built and (is_whole or not built.has_news) %}
        {% set kind = 'incremental' %}
        {% do run_query(note_new_parts()) %}
    {% else %}
        {% set kind = 'full' %}
    {% endif %}
    {% if chosen and (is_whole or kind == 'full') %}
        {% do run_query(note_absorbing(digest, target_day)) %}
    {% endif %}

    {% do create_raw_views(parts, target_day) %}
    {% if kind == 'incremental' %}
        {% do find_affected(built.target_day) %}
    {% else %}
        {% do affect_everything() %}
        {% for model in chosen %}
            {% set relation = adapter.get_relation(model.database, model.schema, model.alias) %}
            {% if relation is not none %}{% do adapter.drop_relation(relation) %}{% endif %}
        {% endfor %}
    {% endif %}
    {% set tests_everything = kind == 'full' or not built.is_tested %}
    {% do find_untested(tests_everything) %}
    {% do run_query(
        "create or replace table build_state.run as select '" ~ kind ~ "' as kind, "
        ~ tests_everything ~ " as tests_everything"
    ) %}
    {% do log('raw ' ~ version ~ ' up to ' ~ target_day ~ ', ' ~ kind ~ ' build', info=true) %}
{% endmacro %}


{# The end of a run: a whole build of which all models succeeded can be built upon. #}
{% macro finish_build(results) %}
    {% if not execute %}{{ return('') }}{% endif %}
    {% set done = results | selectattr('status', 'in', ['success', 'pass', 'warn', 'no-op']) %}
    {% set done = done | map(attribute='node.unique_id') | list %}
    {% set models = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') %}
    {% set tests = graph.nodes.values() | selectattr('resource_type', 'equalto', 'test') %}
    {% set missing = models | map(attribute='unique_id') | reject('in', done) | list %}
    {% set untested = tests | map(attribute='unique_id') | reject('in', done) | list %}
    {% if results | length == done | length and not missing %}
        {% do run_query(
            "update build_state.state set status = 'built', is_tested = "
            ~ (untested | length == 0)
        ) %}
    {% endif %}
{% endmacro %}


{% macro selected_parts(store, version, target_day) %}
    create or replace table build_state.selected_parts as
    select
        part."table" as table_name,
        part.partition,
        part.sha256,
        '{{ store }}/parts/' || part.sha256 || '.parquet' as file
    from (select unnest(parts) as part from read_json('{{ store }}/versions/{{ version }}.json'))
    where part.partition[:10] <= '{{ target_day }}'
{% endmacro %}


{# What the last whole build left, when the selected parts extend it; none otherwise. #}
{% macro state_built_upon(digest, target_day) %}
    {% set tables = run_query("select 1 from duckdb_tables() where schema_name = 'build_state' and table_name = 'state'") %}
    {% if flags.FULL_REFRESH or tables.rows | length == 0 %}{{ return(none) }}{% endif %}
    {% set query %}
        select
            target_day::varchar as target_day,
            is_tested,
            (select count(*) from build_state.selected_parts anti join build_state.parts using (table_name, partition, sha256))
            + (target_day < '{{ target_day }}')::int as has_news
        from build_state.state
        where
            status = 'built'
            and digest = '{{ digest }}'
            and target_day <= '{{ target_day }}'
            and not exists (
                from build_state.parts anti join build_state.selected_parts using (table_name, partition, sha256)
            )
    {% endset %}
    {% set found = run_query(query).rows %}
    {{ return(found[0] if found | length == 1 else none) }}
{% endmacro %}


{% macro all_exist(models) %}
    {% for model in models if adapter.get_relation(model.database, model.schema, model.alias) is none %}
        {{ return(false) }}
    {% endfor %}
    {{ return(true) }}
{% endmacro %}


{% macro note_new_parts() %}
    create or replace table build_state.new_parts as
    from build_state.selected_parts anti join build_state.parts using (table_name, partition, sha256)
{% endmacro %}


{% macro note_absorbing(digest, target_day) %}
    create or replace table build_state.state as
    select
        'absorbing' as status,
        '{{ digest }}' as digest,
        date '{{ target_day }}' as target_day,
        false as is_tested;
    create or replace table build_state.parts as from build_state.selected_parts;
{% endmacro %}


{#
    Names all that decides what the models' tables hold beside the raw rows: models, sources, macros, variables, the
    shop's time zone and the tools. Edited text is another digest, even where the result is the same.
#}
{% macro code_digest(models) %}
    {% set folder = flags.PROJECT_DIR or '.' %}
    {% set files = run_query(
        "select md5(string_agg(content, '' order by filename)), version() from read_text(['" ~ folder
        ~ "/macros/**/*.sql', '" ~ folder ~ "/dbt_project.yml'])"
    ).rows[0] %}
    {% set digested = [
        files[0], files[1], dbt_version, invocation_args_dict.get('vars', {}) | string,
        env_var('SHOPWRIGHT_TIMEZONE', 'America/New_York'),
    ] %}
    {% for model in models | sort(attribute='unique_id') %}
        {% do digested.append(model.raw_code ~ tojson(model.config, sort_keys=true) ~ column_types(model)) %}
    {% endfor %}
    {% for source in graph.sources.values() | sort(attribute='unique_id') %}
        {% do digested.append(source.unique_id ~ column_types(source)) %}
    {% endfor %}
    {{ return(local_md5(digested | join('\n'))) }}
{% endmacro %}


{% macro column_types(node) %}
    {%- for column in node.columns.values() %} {{ column.name }} {{ column.data_type }},{% endfor -%}
{% endmacro %}

{#
    Which of several rows with one key counts: the newest `updated_at`; a deletion before what it deletes;
    then the content hash, so that the choice never depends on the order of arrival.
#}
{% macro newest_event_first() -%}
    updated_at desc nulls last, coalesce(_op = 'delete', false) desc, _row_hash desc
{%- endmacro %}


{# An entity row without `updated_at` is valid from the day on which it arrived. #}
{% macro newest_entity_first() -%}
    coalesce(updated_at, cast(_batch_date as timestamptz)) desc,
    _batch_date desc,
    coalesce(_op = 'delete', false) desc,
    _row_hash desc
{%- endmacro %}

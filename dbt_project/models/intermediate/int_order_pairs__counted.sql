{{ config(materialized='incremental', pre_hook="{{ delete_affected('event', 'moment_us') }}") }}
{%- set features = fraud_features() -%}
with

events as (
    select * from {{ ref('int_order_events__numbered') }}
),

{% for pair in features.pairs %}
    {{ count_pair(pair) }},

{% endfor %}
final as (
    select
        events.event_number,
        events.moment_us,
        {% for pair in features.pairs %}
            {%- set feature = pair_feature(pair) -%}
            {{ feature }}_counts.{{ feature }}{{ ',' if not loop.last }}
        {% endfor %}
    from events
    {% for pair in features.pairs %}
        {%- set feature = pair_feature(pair) -%}
        left join {{ feature }}_counts on events.event_number = {{ feature }}_counts.event_number
    {% endfor %}
    where events.is_order and {{ affected('event', 'events.moment_us') }}
)

select * from final

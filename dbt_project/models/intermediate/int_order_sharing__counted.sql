{{ config(materialized='incremental', pre_hook="{{ delete_affected('event', 'moment_us') }}") }}
{%- set features = fraud_features() -%}
with

events as (
    select * from {{ ref('int_order_events__numbered') }}
),

{% for sharing in features.sharing %}
    {{ count_sharing(sharing) }},

{% endfor %}
final as (
    select
        events.event_number,
        events.moment_us,
        {% for sharing in features.sharing %}
            {%- set feature = sharing_feature(sharing) -%}
            {{ feature }}_counts.{{ feature }}{{ ',' if not loop.last }}
        {% endfor %}
    from events
    {% for sharing in features.sharing %}
        {%- set feature = sharing_feature(sharing) -%}
        left join {{ feature }}_counts on events.event_number = {{ feature }}_counts.event_number
    {% endfor %}
    where events.is_order and {{ affected('event', 'events.moment_us') }}
)

select * from final

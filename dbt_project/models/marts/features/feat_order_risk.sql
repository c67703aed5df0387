{{ config(pre_hook="{{ delete_affected('event', 'epoch_us(attempted_at)') }}") }}
{%- set features = fraud_features() -%}
with

clock as (
    select * from {{ source('raw', 'clock') }}
),

payments as (
    select * from {{ ref('int_order_payments__judged') }}
    where {{ affected('event', 'epoch_us(attempted_at)') }}
),

events as (
    select * from {{ ref('int_order_events__numbered') }}
),

{% for entity in features.entities %}
    {{ entity }}_counts as (
        select * from {{ ref(counted_model(entity)) }}
    ),
{% endfor %}

sharing_counts as (
    select * from {{ ref('int_order_sharing__counted') }}
),

pair_counts as (
    select * from {{ ref('int_order_pairs__counted') }}
),

frauds_before as (
    select
        event_number,
        order_id,
        is_order,
        sum((not is_order)::integer) over (order by event_number rows unbounded preceding) as count_frauds
    from events
),

shop_rates as (
    select
        event_number,
        order_id,
        -- A weak prior: 200 orders, one of them fraud.
        (count_frauds + 1) / (event_number - 1 - count_frauds + 200) as fraud_rate_shop_ever
    from frauds_before
    where is_order
),

final as (
    select
        payments.order_id,
        payments.attempted_at,
        payments.attempt_date,
        payments.amount_cents,
        hour(payments.attempted_at at time zone clock.timezone) as hour_of_day,
        isodow(payments.attempt_date) as day_of_week,
        (epoch_us(payments.attempted_at) - epoch_us(payments.account_created_at)) / 86400000000 as account_age_days,
        payments.billing_address_hash = payments.shipping_address_hash as is_billing_shipping_same,
        payments.channel,
        {% for entity, counted in features.entities.items() %}
            {% for window in counted.windows %}
                {{ entity }}_counts.count_orders_{{ entity }}_{{ window }},
                {{ entity }}_counts.amount_cents_{{ entity }}_{{ window }},
                {{ entity }}_counts.count_failed_{{ entity }}_{{ window }},
            {% endfor %}
            {{ entity }}_counts.count_orders_{{ entity }}_ever,
            {{ entity }}_counts.seconds_since_first_{{ entity }},
            {{ entity }}_counts.seconds_since_last_{{ entity }},
            {{ entity }}_counts.mean_amount_cents_{{ entity }}_ever,
            {{ entity }}_counts.deviation_amount_cents_{{ entity }}_ever,
            {% for window in features.fraud_windows + ['ever'] %}
                {{ entity }}_counts.count_frauds_{{ entity }}_{{ window }},
            {% endfor %}
            {% for window in features.fraud_windows + ['ever'] if window in counted.windows + ['ever'] %}
                (
                    {{ entity }}_counts.count_frauds_{{ entity }}_{{ window }}
                    + {{ features.smoothing_orders }} * shop_rates.fraud_rate_shop_ever
                ) / ({{ entity }}_counts.count_orders_{{ entity }}_{{ window }} + {{ features.smoothing_orders }})
                    as fraud_rate_{{ entity }}_{{ window }},
            {% endfor %}
        {% endfor %}
        shop_rates.fraud_rate_shop_ever,
        {% for sharing in features.sharing %}
            sharing_counts.{{ sharing_feature(sharing) }},
        {% endfor %}
        {% for pair in features.pairs %}
            pair_counts.{{ pair_feature(pair) }}{{ ',' if not loop.last }}
        {% endfor %}
    from payments
    cross join clock
    inner join shop_rates on payments.order_id = shop_rates.order_id
    inner join sharing_counts on shop_rates.event_number = sharing_counts.event_number
    inner join pair_counts on shop_rates.event_number = pair_counts.event_number
    {% for entity in features.entities %}
        left join {{ entity }}_counts on shop_rates.event_number = {{ entity }}_counts.event_number
    {% endfor %}
)

select * from final

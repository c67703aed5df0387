with

exposures as (
    select * from {{ ref('stg_shop__exposures') }}
),

interactions as (
    select * from {{ ref('stg_shop__interactions') }}
),

order_lines as (
    select * from {{ ref('int_order_lines__joined') }}
),

-- What names another exposure followed that one. What names none may have followed any.
clicks as (
    select
        exposures.exposure_id,
        exposures.rank,
        min(interactions.occurred_at) as clicked_at
    from exposures
    inner join interactions
        on
            exposures.customer_id = interactions.customer_id
            and exposures.product_id = interactions.product_id
            and exposures.exposure_id = coalesce(interactions.exposure_id, exposures.exposure_id)
            and exposures.shown_at <= interactions.occurred_at
            and interactions.occurred_at < exposures.shown_at + interval '{{ var("exposure_followed_days") }} days'
    where interactions.interaction_type in ('click', 'cart')
    group by exposures.exposure_id, exposures.rank
),

bought as (
    select
        customer_id,
        product_id,
        ordered_at as bought_at,
        null as exposure_id
    from order_lines
    union all
    select
        customer_id,
        product_id,
        occurred_at,
        exposure_id
    from interactions
    where interaction_type = 'purchase'
),

purchases as (
    select
        exposures.exposure_id,
        exposures.rank,
        min(bought.bought_at) as bought_at
    from exposures
    inner join bought
        on
            exposures.customer_id = bought.customer_id
            and exposures.product_id = bought.product_id
            and exposures.exposure_id = coalesce(bought.exposure_id, exposures.exposure_id)
            and exposures.shown_at <= bought.bought_at
            and bought.bought_at < exposures.shown_at + interval '{{ var("exposure_followed_days") }} days'
    group by exposures.exposure_id, exposures.rank
),

final as (
    select
        exposures.exposure_id,
        exposures.rank,
        exposures.customer_id,
        exposures.product_id,
        exposures.shown_at,
        exposures.exposure_date,
        exposures.placement,
        exposures.step,
        exposures.model_version,
        exposures.policy_version,
        exposures.propensity,
        exposures.is_explored,
        clicks.clicked_at,
        purchases.bought_at,
        clicks.clicked_at is not null as is_clicked,
        purchases.bought_at is not null as is_bought
    from exposures
    left join clicks on exposures.exposure_id = clicks.exposure_id and exposures.rank = clicks.rank
    left join purchases on exposures.exposure_id = purchases.exposure_id and exposures.rank = purchases.rank
)

select * from final

with

source as (
    select
        *,
        coalesce(_op = 'delete', false) as is_deleted,
        coalesce(updated_at, cast(_batch_date as timestamptz)) as reported_at
    from {{ source('raw', 'customers') }}
),

reported as (
    select
        customer_id,
        registered_at,
        country,
        email is not null as has_email,
        is_deleted,
        reported_at
    from source
    qualify
        row_number() over (partition by customer_id, reported_at order by {{ newest_entity_first() }}) = 1
),

described as (
    select
        *,
        (registered_at, country, has_email, is_deleted) as attributes
    from reported
),

compared as (
    select
        *,
        row_number() over same_customer as report_number,
        lag(attributes) over same_customer as attributes_before
    from described
    window same_customer as (partition by customer_id order by reported_at)
),

changed as (
    select *
    from compared
    where report_number = 1 or attributes is distinct from attributes_before
),

versions as (
    select
        *,
        -- How long the first known version had been true is not known: it counts for all the time before.
        case when report_number > 1 then reported_at end as valid_from_at,
        lead(reported_at) over same_customer as valid_to_at
    from changed
    window same_customer as (partition by customer_id order by reported_at)
),

final as (
    select
        customer_id,
        registered_at,
        country,
        has_email,
        valid_from_at,
        valid_to_at,
        valid_to_at is null as is_current
    from versions
    where not is_deleted
)

select * from final

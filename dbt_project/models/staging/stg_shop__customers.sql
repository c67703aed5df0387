with

source as (
    select * from {{ source('raw', 'customers') }}
),

newest as (
    select *
    from source
    qualify row_number() over (partition by customer_id order by {{ newest_entity_first() }}) = 1
),

final as (
    select
        customer_id,
        registered_at,
        _batch_id
    from newest
    where _op is distinct from 'delete'
)

select * from final

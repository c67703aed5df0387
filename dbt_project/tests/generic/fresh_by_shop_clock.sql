{# dbt's own source freshness asks the wall clock, which says nothing about a replayed year. #}
{% test fresh_by_shop_clock(model, column_name, max_age_days) %}

select clock.target_day
from {{ source('raw', 'clock') }} as clock
where not coalesce((select max({{ column_name }}) from {{ model }}) > clock.target_day - {{ max_age_days }}, false)

{% endtest %}

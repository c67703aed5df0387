{% test holds_for_every_row(model, expression) %}

select 1
from {{ model }}
where not coalesce({{ expression }}, false)

{% endtest %}

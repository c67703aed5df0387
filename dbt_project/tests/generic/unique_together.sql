{#
    `untested` names what a build can have changed (see macros/affected.sql): once all rows were tested, only keys that
    the affected rows have can have come twice, and these are looked for among all rows.
#}
{% test unique_together(model, columns, untested={}) %}

select {{ columns | join(', ') }}
from {{ model }}
{% if untested and not tests_everything() %}
    where ({{ columns | join(', ') }}) in (
        select {{ columns | join(', ') }}
        from {{ model }}
        where {% for kind, of in untested.items() %}build_state.is_untested_{{ kind }}({{ of }}){% endfor %}
    )
{% endif %}
group by {{ columns | join(', ') }}
having count(*) > 1

{% endtest %}

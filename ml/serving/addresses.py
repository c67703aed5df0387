"""Which operation answers at an address: a look into a table for those without parameters, patterns for the others."""

import re
from collections.abc import Mapping, Sequence

from ml.serving.errors import Refusal
from ml.serving.operations import Operation

_PARAMETER = re.compile(r"\{(\w+)\}")
_Methods = Mapping[str, Operation]


class Addresses:
    """The addresses of a table of operations."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in operations:
            by_path.setdefault(operation.path, {})[operation.method] = operation
        self._plain: Mapping[str, _Methods] = {path: by_path[path] for path in by_path if "{" not in path}
        self._patterns: list[tuple[re.Pattern[str], _Methods]] = [
            (re.compile(_PARAMETER.sub(r"(?P<\1>[^/]+)", path)), by_path[path]) for path in by_path if "{" in path
        ]

    def find(self, method: str, path: str) -> tuple[Operation, Mapping[str, str]]:
        """The operation and the parameters of its address; raises Refusal (404, 405).

        An address without parameters (`/batch`) is never taken for one whose parameter it could be.
        """
        parameters: Mapping[str, str] = {}
        methods = self._plain.get(path)
        if methods is None:
            methods, parameters = self._with_parameters(path)
        operation = methods.get(method)
        if operation is None:
            headers = {"Allow": ", ".join(methods)}
            raise Refusal(405, "method_not_allowed", "This address does not take this method.", headers=headers)
        return operation, parameters

    def _with_parameters(self, path: str) -> tuple[_Methods, Mapping[str, str]]:
        for pattern, methods in self._patterns:
            if found := pattern.fullmatch(path):
                return methods, found.groupdict()
        raise Refusal(404, "not_found", "There is nothing at this address.")

"""Small graphs of odd shapes: every operator in every form that the CPU path has to lower, by family and name."""

from __future__ import annotations

from tests.targets.cpu import cases_experts, cases_hashing, cases_products, cases_rows, cases_values

CASES = {
    **cases_products.CASES,
    **cases_rows.CASES,
    **cases_values.CASES,
    **cases_experts.CASES,
    **cases_hashing.CASES,
}

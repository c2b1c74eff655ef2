"""What the nodes of a manager may have in force, by their leases alone."""

from hypothesis import given
from hypothesis import strategies as st

from manager.limits.tenants import Tenant
from node.protocol import Lease, Limit

NAMES = st.sampled_from(["requests", "logins"])
SECONDS = st.sampled_from([0.0, 5.0, 20.0, 60.0])
TOLD = st.tuples(
    st.dictionaries(NAMES, st.just(Limit(10.0)), max_size=2),
    st.dictionaries(NAMES, st.builds(Lease, SECONDS, SECONDS), max_size=2),
)


@given(st.lists(TOLD, max_size=3), st.floats(0.0, 200.0))
def test_a_node_has_lapsed_when_it_was_told_of_a_limit_and_every_lease_is_over(
    told: list[tuple[dict[str, Limit], dict[str, Lease]]], now: float
) -> None:
    tenant = Tenant(renewed=3.0, since=0.0)
    for version, (limits, leases) in enumerate(told):
        tenant.tell(version, limits, leases)
    assert tenant.has_lapsed(now) == (any(limits for limits, _ in told) and tenant.all_over(now))

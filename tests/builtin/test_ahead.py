"""ahead.py: in which order modules are sent along, and what is said to be coming."""

from plasmid.builtin.ahead import Ahead


def in_order(ahead: Ahead, imports: "dict[str, list[str]]") -> "list[str]":
    """Return the names that it gives if those modules import these."""
    given = []
    name = ahead.next()
    while name is not None:
        given.append(name)
        ahead.follow(imports.get(name, []))
        name = ahead.next()
    return given


def test_names_come_in_the_order_in_which_an_import_asks_for_them() -> None:  # U4
    ahead = Ahead({"shop"})
    ahead.follow(["shop", "shop.a", "shop.b"])
    imports = {"shop.a": ["shop.c", "shop.b"], "shop.b": ["shop.d"], "shop.c": ["shop.a", "shop.e.f"]}
    assert in_order(ahead, imports) == ["shop", "shop.a", "shop.c", "shop.e", "shop.e.f", "shop.b", "shop.d"]


def test_what_the_far_machine_may_have_itself_comes_last_and_plasmid_not_at_all() -> None:  # U4
    ahead = Ahead({"shop"})
    ahead.follow(["numbers_of.all", "shop.a", "plasmid"])
    imports = {"shop.a": ["tax.rates", "shop.b"], "numbers_of.all": ["shop.late", "numbers_of.some"]}
    assert in_order(ahead, imports) == [
        *("shop", "shop.a", "shop.b", "tax", "tax.rates"),
        *("numbers_of", "numbers_of.all", "shop.late", "numbers_of.some"),
    ]
    assert (ahead.is_own("shop.x"), ahead.is_own("shopping"), bool(ahead)) == (True, False, False)


def test_of_what_is_no_package_nothing_further_is_given() -> None:
    ahead = Ahead({"shop"})
    ahead.follow(["shop.a", "shop.a.b.c", "shop.d"])
    given = []
    name = ahead.next()
    while name is not None:
        given.append(name)
        if name == "shop.a":
            ahead.end(name)
        name = ahead.next()
    assert given == ["shop", "shop.a", "shop.d"]


def test_each_name_is_announced_once_while_it_waits() -> None:
    ahead = Ahead({"shop"})
    ahead.follow(["shop.a", "shop.b", "tax"])
    assert [ahead.next(), ahead.announce()] == ["shop", ["shop.a", "shop.b", "tax"]]
    assert ahead.announce() == []
    assert ahead.next() == "shop.a"
    ahead.follow(["shop.c.d", "shop.b", "shop"])
    assert ahead.next() == "shop.c"
    ahead.end("shop.c")
    assert ahead.announce() == [], "of what is in it nothing comes"
    assert [ahead.next() for _ in range(3)] == ["shop.b", "tax", None]

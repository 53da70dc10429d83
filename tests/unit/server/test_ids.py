from landline.server.ids import new_id


def test_ids_carry_their_prefix_and_at_least_128_random_bits():
    prefix, _, rest = new_id("resp").partition("_")
    assert prefix == "resp"
    assert int(rest, 16) >= 0
    assert len(rest) * 4 >= 128


def test_ids_do_not_repeat():
    assert len({new_id("resp") for _ in range(1000)}) == 1000

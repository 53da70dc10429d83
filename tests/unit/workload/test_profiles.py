"""Profiles by name: drawn sizes come to what was published, the same for the same seed, and make tasks like the recorded one."""

import pytest

from landline.workload import PROFILES, make_task, profile_named, recorded_profile
from landline.workload.profiles import PUBLISHED
from landline.workload.task import TOKEN_BYTES, TaskProfile


def _input_tokens(profile: TaskProfile, turn: int) -> float:
    """Of that turn, from 0."""
    told = sum(message.size_bytes for message in profile.messages) + sum(profile.tools)
    steps = profile.calls[:turn]
    return (told + sum(step.arguments_bytes + step.output_bytes for step in steps)) / TOKEN_BYTES


def test_the_recorded_profile_is_one_of_them() -> None:
    assert profile_named("codex") == recorded_profile()
    assert profile_named("codex", 7).calls_made == 7


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_drawn_sizes_come_to_the_published_means(name: str, seed: int) -> None:
    figures = PUBLISHED[name]
    profile = profile_named(name, seed=seed)
    assert profile.calls_made == len(profile.calls) == figures.calls
    assert _input_tokens(profile, 0) == pytest.approx(figures.first_tokens, rel=0.01)
    last = figures.first_tokens + figures.calls * figures.added_tokens
    assert _input_tokens(profile, figures.calls) == pytest.approx(last, rel=0.01)


def test_agentx_has_its_median_input_in_the_middle_and_most_of_it_cached() -> None:
    figures = PUBLISHED["agentx"]
    middle = figures.first_tokens + figures.calls / 2 * figures.added_tokens
    assert middle == pytest.approx(142_000, rel=0.01)
    assert 1 - figures.added_tokens / middle > 0.959


def test_swe_bench_ends_at_its_published_input() -> None:
    figures = PUBLISHED["swe-bench"]
    assert figures.first_tokens + figures.calls * figures.added_tokens == pytest.approx(84_000, rel=0.01)


@pytest.mark.parametrize("name", PROFILES)
def test_the_same_seed_gives_the_same_sizes(name: str) -> None:
    assert profile_named(name, 12, seed=5) == profile_named(name, 12, seed=5)


@pytest.mark.parametrize("name", PUBLISHED)
def test_outputs_differ_from_each_other_and_from_seed_to_seed(name: str) -> None:
    sizes = [step.output_bytes for step in profile_named(name, seed=1).calls]
    assert len(set(sizes)) > len(sizes) // 2
    assert sizes != [step.output_bytes for step in profile_named(name, seed=2).calls]


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_makes_a_task_of_its_sizes(name: str) -> None:
    profile = profile_named(name, 3)
    task = make_task(profile)
    assert [len(message) for message in task.messages] == [shape.size_bytes for shape in profile.messages]
    assert len(task.steps) == 3
    assert len(task.tools) == pytest.approx(sum(profile.tools), rel=0.01)

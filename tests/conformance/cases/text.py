"""Plain text in and out."""

from tests.conformance.cases.case import Case, answering, user

EVERY_SCRIPT = (
    "Grüße 👩‍👩‍👧‍👦 🏳️‍🌈 🇳🇴 𝒳𐍈 e\u0301 עברית \u202eabc\u202c العَرَبِيَّة 漢字 \u2028\u2029\ufeff "
    '\x01\x08\x0b\x1b\x1f\x7f\x85 "quoted" \\ back\\u0041slash </script> %s {0} \r\n\t end'
)
LONG = "All work and no play makes Jack a dull boy. " * 4_700

CASES = (
    Case(
        name="text",
        scenario=answering("Hello yourself."),
        texts=("Hello yourself.",),
        arrives=("Hello there",),
    ),
    Case(
        name="unicode",
        messages=(user(EVERY_SCRIPT),),
        scenario=answering(EVERY_SCRIPT),
        texts=(EVERY_SCRIPT,),
        arrives=(EVERY_SCRIPT,),
    ),
    Case(
        name="200 KB in, 100 KB out",
        messages=(user(LONG),),
        parameters={"max_completion_tokens": 30_000},
        scenario=answering(LONG[:100_000]),
        texts=(LONG[:100_000],),
        arrives=(LONG,),
    ),
    Case(
        name="conversation",
        messages=(
            {"role": "system", "content": "Be short."},
            {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
            user("Hello there"),
            {"role": "assistant", "content": "Hello."},
            user([{"type": "text", "text": "Who "}, {"type": "text", "text": "are you?"}]),
            {"role": "system", "content": "Be honest."},
            user("Well?"),
        ),
        scenario=answering("Nobody."),
        texts=("Nobody.",),
        arrives=("Be short.", "Be kind.", "Hello.", "are you?", "Well?"),
    ),
    Case(
        name="hints",
        parameters={
            "seed": 7,
            "user": "someone",
            "metadata": {"a": "b"},
            "store": False,
            "presence_penalty": 0.5,
            "verbosity": "medium",
            "prompt_cache_key": "k",
            "service_tier": "default",
        },
        scenario=answering("Yes."),
        texts=("Yes.",),
        dropped={
            "gpt-4.1": "metadata,store",
            "gpt-5.2": "metadata,presence_penalty,store",
            "xai": "metadata,presence_penalty,prompt_cache_key,service_tier,store,verbosity",
            "bytedance": "metadata,prompt_cache_key,store,verbosity",
            "nous": "metadata,prompt_cache_key,seed,service_tier,store,verbosity",
            "anthropic": "metadata,presence_penalty,prompt_cache_key,seed,verbosity",
            "google": "metadata,presence_penalty,prompt_cache_key,user,verbosity",
        },
    ),
    Case(
        name="sampling",
        parameters={"temperature": 0.7, "top_p": 0.9},
        scenario=answering("Yes."),
        texts=("Yes.",),
        dropped={
            "claude-haiku-4-5": "top_p",
            "claude-sonnet-4-6": "top_p",
            "claude-sonnet-4-0": "top_p",
            "claude-fable-5": "temperature,top_p",
        },
    ),
    Case(
        name="cached prompt",
        scenario=answering("Yes.", prompt_tokens=5000, cached_tokens=3072, cache_write_tokens=512),
        texts=("Yes.",),
    ),
)

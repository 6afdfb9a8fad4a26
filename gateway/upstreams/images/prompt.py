"""What a conversation asks to be drawn, and from which pictures (facts/providers.md 9.1, 9.2)."""

from collections.abc import Iterator

from gateway.openai_api.errors import invalid_request, unsupported_value
from gateway.openai_api.messages import (
    AssistantMessage,
    DeveloperMessage,
    ImagePart,
    Message,
    SystemMessage,
    TextPart,
    UserMessage,
    text_of,
)
from gateway.upstreams.assistant_images import assistant_image_url


def prompt(messages: list[Message]) -> str:
    """The system texts and the text of the last user message, a paragraph each; 400 without the latter."""
    position, message = _last_user_message(messages)
    wish = text_of(message.content).strip()
    if not wish:
        raise invalid_request("A picture needs a user message with text.", f"messages[{position}].content")
    rules = [text_of(item.content).strip() for item in messages if isinstance(item, SystemMessage | DeveloperMessage)]
    return "\n\n".join([*filter(None, rules), wish])


def references(messages: list[Message], limit: int) -> list[str]:
    """The pictures to build on: those of earlier answers, then those of the last user message.

    More than ``limit`` in the user message are a 400; of earlier answers, the newest that fit are taken.
    """
    position, message = _last_user_message(messages)
    wanted = list(_user_pictures(position, message))
    if len(wanted) > limit:
        most = f"at most {limit} input pictures" if limit else "no input pictures"
        raise unsupported_value(f"This model takes {most}.", wanted[limit][0])
    room = limit - len(wanted)
    earlier = list(_earlier_pictures(messages))
    return (earlier[-room:] if room else []) + [url for _, url in wanted]


def _last_user_message(messages: list[Message]) -> tuple[int, UserMessage]:
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if isinstance(message, UserMessage):
            return position, message
    raise invalid_request("A picture needs a user message that describes it.", "messages")


def _user_pictures(position: int, message: UserMessage) -> Iterator[tuple[str, str]]:
    """``(param, url)`` of the pictures in a message; raises 400 for other files."""
    for place, part in enumerate([] if isinstance(message.content, str) else message.content):
        where = f"messages[{position}].content[{place}]"
        if isinstance(part, ImagePart):
            yield f"{where}.image_url", part.image_url.url
        elif not isinstance(part, TextPart):
            raise unsupported_value("This model reads text and pictures only.", f"{where}.type")


def _earlier_pictures(messages: list[Message]) -> Iterator[str]:
    for message in messages:
        if isinstance(message, AssistantMessage):
            yield from filter(None, map(assistant_image_url, message.images or ()))

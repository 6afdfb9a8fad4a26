"""The prompt and the input images of a conversation (facts/providers.md 9.1, 9.2)."""

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
    texts_of,
)


def prompt(messages: list[Message]) -> str:
    """The system texts and the texts of the last user message, one paragraph each. Raises 400 without the latter."""
    position, message = _last_user_message(messages)
    wanted = _paragraphs(message)
    if not wanted:
        raise invalid_request("Image generation requires a user message with text.", f"messages[{position}].content")
    instructions = [
        text for item in messages if isinstance(item, SystemMessage | DeveloperMessage) for text in _paragraphs(item)
    ]
    return "\n\n".join(instructions + wanted)


def _paragraphs(message: SystemMessage | DeveloperMessage | UserMessage) -> list[str]:
    """The texts of a message that are not blank, without the blanks around them."""
    return [text for text in map(str.strip, texts_of(message.content)) if text]


def references(messages: list[Message], limit: int) -> list[str]:
    """The URLs of the input images: those of earlier answers, then those of the last user message.

    Raises 400 for more than ``limit`` in the user message; of those in earlier answers, the newest that fit are used.
    """
    position, message = _last_user_message(messages)
    user_images = list(_user_images(position, message))
    if len(user_images) > limit:
        allowed = f"at most {limit} input images" if limit else "no input images"
        raise unsupported_value(f"This model supports {allowed}.", user_images[limit][0])
    room = limit - len(user_images)
    answers = [message for message in messages if isinstance(message, AssistantMessage)]
    earlier = [url for answer in answers for url in answer.image_urls if url]
    return (earlier[-room:] if room else []) + [url for _, url in user_images]


def _last_user_message(messages: list[Message]) -> tuple[int, UserMessage]:
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if isinstance(message, UserMessage):
            return position, message
    raise invalid_request("Image generation requires a user message that describes the image.", "messages")


def _user_images(position: int, message: UserMessage) -> Iterator[tuple[str, str]]:
    """``(param, url)`` of the images in a message. Raises 400 for other files."""
    for place, part in enumerate([] if isinstance(message.content, str) else message.content):
        where = f"messages[{position}].content[{place}]"
        if isinstance(part, ImagePart):
            yield f"{where}.image_url", part.image_url.url
        elif not isinstance(part, TextPart):
            raise unsupported_value("This model supports text and image input only.", f"{where}.type")

"""What clients speak: the OpenAI request, answer, stream and error shapes."""

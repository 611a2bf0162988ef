"""Model providers: each one module behind the port `domain.ports.models.ModelProvider`.

Vendors' protocols are spoken over our own bounded HTTP (`adapters.bounded_http`, whose event streams httpx2 decodes) and not
through the vendors' client libraries. Tried were openai 3.54, anthropic 2.14 and google-genai 3.6 over an HTTP client of ours.
Two things cannot be switched off there: they read the environment (OPENAI_CUSTOM_HEADERS and ANTHROPIC_CUSTOM_HEADERS replace
headers, the key's among them; OPENAI_ORG_ID, OPENAI_PROJECT_ID and GOOGLE_* change where a call goes and who pays), and they
take for an answer what is none: of a 200 with an error, of HTML and of a stream that was cut off they make an empty answer.
So every member would be checked by hand all the same, their errors quote prompts, and a process would load 25 to 50 MB more.
They check our fakes of the vendors in the tests instead.
"""

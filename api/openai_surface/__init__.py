"""OpenAI's wire protocol in front of our model requests: shapes, pure translation both ways, and its error envelope."""

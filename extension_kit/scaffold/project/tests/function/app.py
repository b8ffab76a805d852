"""A function to try the extension with: `make run`."""


def handler(event, context):
    print("hello")
    print("ERROR: this line is counted twice: as a line, and as one that holds the word")
    return {"request": context.aws_request_id}

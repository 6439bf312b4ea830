"""STS."""

from walk import walk


@walk("sts", "GetCallerIdentity")
def get_caller_identity(on):
    on.look()
    on.nothing_to_refuse("it takes no parameters")

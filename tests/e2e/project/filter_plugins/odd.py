import os


def with_invalid_utf8_printed(value):
    os.write(1, b"caf\xe9 \xff\xfe end\n")
    return value


class FilterModule:
    def filters(self):
        return {"with_invalid_utf8_printed": with_invalid_utf8_printed}

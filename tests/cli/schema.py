"""A validator of the part of JSON Schema (2020-12) that docs/crucible-record.schema.json uses; any other keyword is an error of the schema."""
import re

TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
ANNOTATIONS = {"$schema", "$defs", "title", "description"}


def is_type(value, name):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if name == "number":
        return number
    if name == "integer":
        return number and value == int(value)
    return isinstance(value, TYPES[name])


class Validator:
    def __init__(self, schema):
        self.root = schema

    def problems(self, value):
        return self.check(value, self.root, "")

    def check(self, value, schema, path):
        """What is wrong, each with its place."""
        if schema is False:
            return ["%s: not allowed" % path]
        found = []
        for keyword, rule in schema.items():
            if keyword in ANNOTATIONS:
                continue
            found += getattr(self, "check_" + keyword.lstrip("$"))(value, rule, path, schema)
        return found

    def check_ref(self, value, rule, path, schema):
        prefix, name = rule.rsplit("/", 1)
        assert prefix == "#/$defs", rule
        return self.check(value, self.root["$defs"][name], path)

    def check_type(self, value, rule, path, schema):
        names = rule if isinstance(rule, list) else [rule]
        return [] if any(is_type(value, n) for n in names) else ["%s: %r is not %s" % (path, value, " or ".join(names))]

    def check_const(self, value, rule, path, schema):
        return [] if value == rule and type(value) is type(rule) else ["%s: %r is not %r" % (path, value, rule)]

    def check_enum(self, value, rule, path, schema):
        return [] if value in rule else ["%s: %r is none of %r" % (path, value, rule)]

    def check_pattern(self, value, rule, path, schema):
        return [] if not isinstance(value, str) or re.search(rule, value) else ["%s: %r does not match %s" % (path, value, rule)]

    def check_minimum(self, value, rule, path, schema):
        return [] if not is_type(value, "number") or value >= rule else ["%s: %r is below %r" % (path, value, rule)]

    def check_minItems(self, value, rule, path, schema):
        return [] if not isinstance(value, list) or len(value) >= rule else ["%s: fewer than %d items" % (path, rule)]

    def check_maxItems(self, value, rule, path, schema):
        return [] if not isinstance(value, list) or len(value) <= rule else ["%s: more than %d items" % (path, rule)]

    def check_required(self, value, rule, path, schema):
        return ["%s.%s: missing" % (path, key) for key in rule if isinstance(value, dict) and key not in value]

    def check_properties(self, value, rule, path, schema):
        if not isinstance(value, dict):
            return []
        return [p for key, one in rule.items() if key in value for p in self.check(value[key], one, path + "." + key)]

    def check_additionalProperties(self, value, rule, path, schema):
        if not isinstance(value, dict):
            return []
        return [p for key in value if key not in schema.get("properties", {}) for p in self.check(value[key], rule, path + "." + key)]

    def check_items(self, value, rule, path, schema):
        if not isinstance(value, list):
            return []
        return [p for i, one in enumerate(value) for p in self.check(one, rule, "%s[%d]" % (path, i))]

    def check_anyOf(self, value, rule, path, schema):
        tried = [self.check(value, one, path) for one in rule]
        return [] if any(not t for t in tried) else min(tried, key=len)

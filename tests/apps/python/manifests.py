"""Prints the documents of a YAML file as a JSON list. A key that stands twice is an error."""

import json
import sys

import yaml


class Strict(yaml.SafeLoader):
    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        if len(keys) != len(set(keys)):
            raise yaml.YAMLError(f"a key stands twice: {keys} {node.start_mark}")
        return super().construct_mapping(node, deep)


with open(sys.argv[1]) as file:
    json.dump([one for one in yaml.load_all(file, Strict) if one is not None], sys.stdout)

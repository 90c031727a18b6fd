"""Says of each file in a folder whether a JSON Schema takes it, as an editor would: `NAME: fine`, or what is wrong.

schema.py SCHEMA FOLDER
"""

import json
import pathlib
import sys
import tomllib

from jsonschema import Draft202012Validator

schema = json.loads(pathlib.Path(sys.argv[1]).read_text())
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for file in sorted(pathlib.Path(sys.argv[2]).iterdir()):
    try:
        document = tomllib.loads(file.read_text())
    except tomllib.TOMLDecodeError as error:
        print(f"{file.name}: no TOML: {error}")
        continue
    errors = list(validator.iter_errors(document))
    print(f"{file.name}: {str(errors[0].message)[:200]}" if errors else f"{file.name}: fine")

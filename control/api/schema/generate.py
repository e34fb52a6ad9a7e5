"""Turns Kubernetes' published schemas into the compact table that control-api embeds.

table.bin, deflated; all numbers little-endian:
  header    magic "BST1", then u16 counts: strings, types, fields, kinds, key lists
  strings   u32 offsets (count + 1), then the bytes
  types     name u16, first field u16, fields u16, flags u16
  fields    name u16, type u16, go type u16, merge key u16, list keys u16, protobuf number u16, flags u16, kind u8, shape u8
  kinds     group u16, version u16, kind u16, type u16
  key lists length u16, then that many strings u16
descriptions.bin, deflated: u32 count of texts, u32 ends of texts, texts; then u16 per type and per field, in table order.
65535 stands for "none". Fields of a type are sorted by name; fields without a name (embedded structs, which only
protobuf knows) come last.
"""
import argparse, json, re, struct, sys, zlib
from pathlib import Path

NONE = 0xFFFF
KINDS = ["object", "string", "int32", "int64", "bool", "double", "bytes", "quantity", "intorstring", "time", "microtime", "any", "raw", "duration"]
KIND = {name: number for number, name in enumerate(KINDS)}
SHAPE = {"one": 0, "list": 1, "map": 2, "maplist": 3}
POINTER, OMITEMPTY, REQUIRED, LIST_MAP, LIST_SET, LIST_ATOMIC, PATCH_MERGE, RETAIN_KEYS, INLINE, ATOMIC_MAP, UNSIGNED = (1 << n for n in range(11))
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intorstring",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "microtime",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "raw",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "raw",
}
STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.M | re.S)
ALIAS = re.compile(r"^type (\w+) (string|int32|int64|bool|\[\]string|map\[\S+)\s*(?://.*)?$", re.M)
FIELD = re.compile(r"^\t(?:(\w+)\s+)?([\w.*\[\]]+)\s+`([^`]*)`", re.M)


def go_package(definition):
    """`io.k8s.api.core.v1.Pod` -> (`api/core/v1`, `Pod`)."""
    path, name = definition.removeprefix("io.k8s.").rsplit(".", 1)
    return path.replace(".", "/"), name


class Go:
    """Struct tags and named types of the Go packages, read once a package."""

    def __init__(self, root):
        self.root, self.packages = Path(root), {}

    def package(self, path):
        if path not in self.packages:
            structs, aliases = {}, {}
            for file in sorted((self.root / path).glob("*.go")):
                if file.name.endswith("_test.go") or file.name.startswith(("generated", "zz_")):
                    continue
                text = file.read_text()
                structs.update({m[1]: self.fields(m[2]) for m in STRUCT.finditer(text)})
                aliases.update({m[1]: m[2] for m in ALIAS.finditer(text)})
            self.packages[path] = structs, aliases
        return self.packages[path]

    @staticmethod
    def fields(body):
        found = []
        for m in FIELD.finditer(body):
            tags = dict(re.findall(r'(\w+):"([^"]*)"', m[3]))
            json_name, *options = tags.get("json", "").split(",")
            proto = tags.get("protobuf", "").split(",")
            number = int(proto[1]) if len(proto) > 1 and proto[1].isdigit() else NONE
            found.append({"json": json_name, "inline": "inline" in options or not m[1], "go": m[2], "number": number,
                          "omitempty": "omitempty" in options or "omitzero" in options})
        return found

    def json_fields(self, path, name):
        """JSON name -> field, with embedded structs flattened; and the embedded ones by themselves."""
        flat, embedded = {}, []
        for field in self.package(path)[0].get(name, []):
            if field["json"] and field["json"] != "-":
                flat[field["json"]] = field
            elif field["inline"] and "TypeMeta" not in field["go"]:
                package, inner = self.resolve(path, field["go"])
                nested, _ = self.json_fields(package, inner)
                for key, value in nested.items():
                    flat.setdefault(key, {**value, "number": NONE})
                if field["number"] != NONE:
                    embedded.append((field["number"], nested))
        return flat, embedded

    def resolve(self, path, go):
        go = go.lstrip("*")
        if "." not in go:
            return path, go
        package, name = go.split(".")
        where = "apimachinery/pkg/apis/meta/v1" if package == "metav1" else "api/core/v1"
        return where, name


class Table:
    def __init__(self, definitions, go):
        self.definitions, self.go = definitions, go
        self.strings, self.texts = {}, {"": 0}
        self.types, self.queue, self.keys = {}, [], {}

    def string(self, text):
        return self.strings.setdefault(text, len(self.strings))

    def text(self, text):
        return self.texts.setdefault(text or "", len(self.texts))

    def type(self, name):
        if name not in self.types:
            self.types[name] = len(self.types)
            self.queue.append(name)
        return self.types[name]

    def kind(self, schema):
        """(kind, type) of a schema that is neither list nor map."""
        ref = schema.get("$ref", "").removeprefix("#/$defs/")
        if ref:
            if ref in SPECIAL:
                return SPECIAL[ref], NONE
            target = self.definitions.get(ref, {})
            kinds = target.get("type")
            if "properties" in target or (ref.split(".")[-1] not in ("JSON", "JSONSchemaPropsOrBool", "JSONSchemaPropsOrArray", "JSONSchemaPropsOrStringArray", "Patch") and kinds == ["object", "null"]):
                return "object", self.type(ref)
            return ("string" if "string" in (kinds or []) else "any"), NONE
        word = schema.get("type")
        word = word[0] if isinstance(word, list) else word
        if word == "string":
            return ("bytes" if schema.get("format") == "byte" else "string"), NONE
        if word == "integer":
            return ("int64" if schema.get("format") == "int64" else "int32"), NONE
        return {"boolean": "bool", "number": "double"}.get(word, "any"), NONE

    def shape(self, schema):
        word = schema.get("type")
        word = word[0] if isinstance(word, list) else word
        if word == "array":
            return ("list",) + self.kind(schema["items"])
        if word == "object" and "additionalProperties" in schema:
            inner = schema["additionalProperties"]
            nested = self.shape(inner)
            return ("maplist" if nested[0] == "list" else "map",) + nested[1:]
        return ("one",) + self.kind(schema)

    def field(self, name, schema, go, package, required):
        shape, kind, type_ = self.shape(schema)
        go_type = go["go"] if go else ""
        if not go and name not in ("apiVersion", "kind"):
            print(f"no Go field for {package} {name}", file=sys.stderr)
        # A field that the Go packages have dropped meanwhile is taken for a pointer.
        flags = (POINTER if not go or go_type.startswith("*") else 0) | (OMITEMPTY if (go or {}).get("omitempty", True) else 0)
        flags |= REQUIRED if required else 0
        flags |= {"map": LIST_MAP, "set": LIST_SET, "atomic": LIST_ATOMIC}.get(schema.get("x-kubernetes-list-type"), 0)
        flags |= ATOMIC_MAP if schema.get("x-kubernetes-map-type") == "atomic" else 0
        strategy = schema.get("x-kubernetes-patch-strategy", "")
        flags |= (PATCH_MERGE if "merge" in strategy else 0) | (RETAIN_KEYS if "retainKeys" in strategy else 0)
        bare = re.sub(r"^\*|^\[\]\*?|^map\[\w+\]", "", go_type)
        if "." in bare:
            bare = bare.replace("metav1.", "v1.")
        elif bare in self.go.package(package)[1]:
            bare = package.rsplit("/", 1)[-1] + "." + bare
        else:
            bare = ""
        if bare.endswith(".Duration"):
            kind = "duration"
        keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        if keys and keys not in self.keys:
            self.keys[keys] = len(self.keys)
        merge = schema.get("x-kubernetes-patch-merge-key")
        row = struct.pack("<7H2B", self.string(name), type_, self.string(bare) if bare and kind != "object" else NONE,
                          self.string(merge) if merge else NONE, self.keys[keys] if keys else NONE,
                          go["number"] if go else NONE, flags, KIND[kind], SHAPE[shape])
        return row, self.text(schema.get("description"))

    def rows(self, name):
        definition = self.definitions[name]
        package, go_name = go_package(definition.get("x-embedded-in", name))
        flat, embedded = self.go.json_fields(package, go_name)
        flat = definition.get("x-go-fields", flat)
        required = definition.get("required", ())
        for field in sorted(definition.get("properties", {})):
            schema = definition["properties"][field]
            yield self.field(field, schema, flat.get(field), package, field in required)
        for number, nested in [] if "x-go-fields" in definition else embedded:
            # Protobuf nests what JSON inlines, so it needs a type of its own, which no JSON path reaches.
            inner = f"{name}#{number}"
            properties = {key: definition["properties"][key] for key in nested if key in definition["properties"]}
            self.definitions[inner] = {"properties": properties, "x-go-fields": nested, "x-embedded-in": name}
            yield struct.pack("<7H2B", self.string(""), self.type(inner), NONE, NONE, NONE, number, INLINE, 0, 0), 0

    def build(self, wanted):
        kinds = []
        for group, version, kind in wanted:
            name = find(self.definitions, group, version, kind)
            kinds.append((self.string(group), self.string(version), self.string(kind), self.type(name)))
        types, fields, type_texts, field_texts = [], [], [], []
        while len(types) < len(self.queue):
            name = self.queue[len(types)]
            definition = self.definitions[name]
            first = len(fields)
            for row, text in self.rows(name):
                fields.append(row)
                field_texts.append(text)
            flags = ATOMIC_MAP if definition.get("x-kubernetes-map-type") == "atomic" else 0
            types.append(struct.pack("<4H", self.string(name), first, len(fields) - first, flags))
            type_texts.append(self.text(definition.get("description")))
        key_lists = b"".join(struct.pack(f"<{len(keys) + 1}H", len(keys), *map(self.string, keys)) for keys in self.keys)
        table = b"BST1" + struct.pack("<5H", len(self.strings), len(types), len(fields), len(kinds), len(self.keys))
        table += offsets(self.strings, True) + b"".join(types) + b"".join(fields)
        table += b"".join(struct.pack("<4H", *row) for row in kinds) + key_lists
        texts = struct.pack("<I", len(self.texts)) + offsets(self.texts, False)
        texts += struct.pack(f"<{len(type_texts) + len(field_texts)}H", *type_texts, *field_texts)
        return table, texts, len(types), len(fields)


def offsets(strings, start):
    encoded = [text.encode() for text in strings]
    ends, total = ([0] if start else []), 0
    for item in encoded:
        total += len(item)
        ends.append(total)
    return struct.pack(f"<{len(ends)}I", *ends) + b"".join(encoded)


def find(definitions, group, version, kind):
    for name, definition in definitions.items():
        for gvk in definition.get("x-kubernetes-group-version-kind", ()):
            if (gvk["group"], gvk["version"], gvk["kind"]) == (group, version, kind):
                return name
    sys.exit(f"no schema for {group}/{version} {kind}")


def deflate(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for option in ("definitions", "go", "kinds", "out"):
        parser.add_argument(f"--{option}", required=True)
    args = parser.parse_args()
    definitions = json.loads(Path(args.definitions).read_text())["$defs"]
    wanted = []
    for line in Path(args.kinds).read_text().splitlines():
        if line and not line.startswith("#"):
            group_version, kind = line.split()
            group, version = group_version.split("/")
            wanted.append(("" if group == "-" else group, version, kind))
    table, texts, types, fields = Table(definitions, Go(args.go)).build(wanted)
    for name, data in (("table", table), ("descriptions", texts)):
        packed = deflate(data)
        (Path(args.out) / f"{name}.bin").write_bytes(struct.pack("<I", len(data)) + packed)
        print(f"{name}: {len(data)} bytes, {len(packed)} deflated")
    print(f"{types} types, {fields} fields")


main()

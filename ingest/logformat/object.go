package logformat

import "strings"

// object compiles a %{+json}o format: HAProxy 3.0 and later write one JSON
// object of the items that have a %(name), in their order, and nothing else:
// {"a": 1, "b": "x"}.
func (c *compiler) object(nodes []node) error {
	for i := range nodes {
		n := &nodes[i]
		switch {
		case n.kind == nodeText || n.kind == nodeBlank:
			if strings.TrimSpace(n.text) != "" {
				c.note(n, Note, "text between the items is not logged under %%{+json}o")
			}
			continue
		case n.name == "":
			c.note(n, Warning, "%s has no %%(name), so it is not logged under %%{+json}o", n.src)
			continue
		}
		n.flags |= flagJSON
		o, it, err := c.item(n)
		if err != nil {
			return err
		}
		prefix := `, "`
		if len(c.ops) == 0 {
			prefix = `{"`
		}
		c.literal(prefix + n.name + `": `)
		c.add(o, it)
	}
	if len(c.ops) > 0 {
		c.literal("}")
	}
	return nil
}

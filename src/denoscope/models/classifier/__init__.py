"""The bundled classifiers of digits, one for each size of images, and the likeness by which they reject other images."""

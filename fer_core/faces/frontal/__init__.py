"""Frontal views: show a turned face as if the camera stood in front of it.

In come images and their 68 points; out come views (B, 224, 224, 3), which `faces.views` offers
under the names `frontal`, `frontal_soft` and `frontal_conditional`. One surface in three dimensions
serves all faces. The modules act in this order: `mean_face` is the project's own face, `surface`
samples it (or a mesh of the user's) at the pixels of the frontal view, `pose` finds how a head is
turned, and `frontalize` fetches the colour of each pixel from the image. The renderer
(`fer_core.synthetic`) draws its people from the same mean face.
"""
